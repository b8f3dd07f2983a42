// node queue-sender.js PORT FIRST COUNT [realtime]: makes the queue or finds it, and sends numbered messages.
import RedisSMQ from 'rsmq';
import { connection, queue as qname } from './common.js';

const [first, count] = process.argv.slice(3, 5).map(Number);
const rsmq = new RedisSMQ({ ...connection, ns: 'rsmq', realtime: process.argv[5] === 'realtime' });

rsmq.createQueue({ qname }, (failed) => {
  console.log(failed ? `queue: ${failed.name}` : 'queue: created');
  let left = count;
  for (let n = first; n < first + count; n++) {
    rsmq.sendMessage({ qname, message: `${n}` }, (error, id) => {
      console.log(error ? `ERROR: ${error}` : `sent ${id}`);
      if (--left === 0) rsmq.quit();
    });
  }
});
