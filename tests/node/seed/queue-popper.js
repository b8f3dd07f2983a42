// node queue-popper.js PORT: takes messages off the queue, at most once, and prints each.
import RedisSMQ from 'rsmq';
import { connection, queue as qname, untilInputCloses } from './common.js';

const rsmq = new RedisSMQ({ ...connection, ns: 'rsmq' });
let running = true;

function pop() {
  if (!running) return rsmq.quit();
  rsmq.popMessage({ qname }, (error, message) => {
    if (error) console.log(`ERROR: ${error}`);
    else if (message.id) console.log(`popped ${message.message}`);
    setTimeout(pop, message?.id ? 0 : 20);
  });
}
console.log('ready');
pop();
untilInputCloses(() => { running = false; });
