// node rsmq.mjs HOST PORT QUEUE: does what it is told line by line (send|receive|pop MESSAGES IN_FLIGHT BYTES), and answers `done`.
import { createInterface } from 'node:readline';
import RedisSMQ from '../../../../tests/node/node_modules/rsmq/index.js';

const [host, port, qname] = process.argv.slice(2);
const rsmq = new RedisSMQ({ host, port: Number(port), ns: 'rsmq' });

const work = {
  send: (message) => rsmq.sendMessageAsync({ qname, message }),
  pop: () => rsmq.popMessageAsync({ qname }),
  receive: async () => {
    const { id } = await rsmq.receiveMessageAsync({ qname });
    await rsmq.deleteMessageAsync({ qname, id });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, messages, inFlight, bytes] = line.split(' ');
  const body = 'x'.repeat(Number(bytes));
  let left = Number(messages);
  const caller = async () => { while (left-- > 0) await work[name](body); };
  await Promise.all(Array.from({ length: Number(inFlight) }, caller));
  console.log('done');
}
rsmq.quit();
