// node subscriber.js PORT: prints every notice from the moment it says `subscribed`.
import redis from 'redis3';
import { connection, channel, untilInputCloses } from './common.js';

const client = redis.createClient(connection);
client.subscribe(channel, () => console.log('subscribed'));
client.on('message', (from, text) => console.log(`Message: ${from} ${text}`));
untilInputCloses(() => client.quit());
