// node publisher.js PORT FIRST COUNT: publishes numbered notices and says how many received each.
import redis from 'redis3';
import { connection, channel } from './common.js';

const client = redis.createClient(connection);
const [first, count] = process.argv.slice(3).map(Number);
for (let n = first; n < first + count; n++) {
  client.publish(channel, JSON.stringify({ n }), (error, receivers) => console.log(error ? `ERROR: ${error}` : `published ${n} to ${receivers}`));
}
client.quit();
