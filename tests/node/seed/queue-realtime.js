// node queue-realtime.js PORT: subscribes to the queue's notices, and receives once for each; deletes nothing.
import redis from 'redis3';
import RedisSMQ from 'rsmq';
import { connection, queue as qname, untilInputCloses } from './common.js';

const rsmq = new RedisSMQ({ ...connection, ns: 'rsmq', realtime: true });
const notices = redis.createClient(connection);

notices.subscribe(`rsmq:rt:${qname}`, () => console.log('ready'));
notices.on('message', (_, size) => {
  console.log(`announced at ${size}`);
  rsmq.receiveMessage({ qname }, (error, { id, message } = {}) => {
    if (error) console.log(`ERROR: ${error}`);
    else console.log(id ? `received ${message}` : 'nothing left');
  });
});
untilInputCloses(() => { notices.quit(); rsmq.quit(); });
