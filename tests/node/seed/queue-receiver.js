// node queue-receiver.js PORT: receives, prints and then deletes messages.
import RedisSMQ from 'rsmq';
import { connection, queue as qname, untilInputCloses } from './common.js';

const rsmq = new RedisSMQ({ ...connection, ns: 'rsmq' });
let running = true;

function receive() {
  if (!running) return rsmq.quit();
  rsmq.receiveMessage({ qname }, (error, { id, message } = {}) => {
    if (error) console.log(`ERROR: ${error}`);
    if (!id) return setTimeout(receive, 20);
    console.log(`received ${message}`);
    rsmq.deleteMessage({ qname, id }, (failed, deleted) => {
      if (failed || deleted !== 1) console.log(`ERROR: ${message} not deleted: ${failed}`);
      receive();
    });
  });
}
console.log('ready');
receive();
untilInputCloses(() => { running = false; });
