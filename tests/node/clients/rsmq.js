// node rsmq.js PORT [realtime]: carries out calls of the npm package rsmq, one JSON line each ({"call", ...options}), and answers with
// one JSON line. node rsmq.js PORT work QUEUE: receives and deletes until its input closes, one line `handled BODY` each.
import { createInterface } from 'node:readline';
import RedisSMQ from 'rsmq';
import { untilInputCloses } from '../seed/common.js';

const [port, mode, qname] = process.argv.slice(2);
const rsmq = new RedisSMQ({ host: '127.0.0.1', port: Number(port), ns: 'rsmq', realtime: mode === 'realtime' });

async function work() {
  let running = true;
  untilInputCloses(() => { running = false; });
  console.log('ready');
  while (running) {
    const { id, message } = await rsmq.receiveMessageAsync({ qname });
    if (id) {
      console.log(`handled ${message}`);
      if (await rsmq.deleteMessageAsync({ qname, id }) !== 1) console.log(`lost ${message}`);
    } else {
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
  }
}

async function answer() {
  for await (const line of createInterface({ input: process.stdin })) {
    const { call, ...options } = JSON.parse(line);
    const done = call === 'listQueues' ? rsmq.listQueuesAsync() : rsmq[`${call}Async`](options);
    console.log(JSON.stringify(await done.catch((error) => ({ error: error.name }))));
  }
}

await (mode === 'work' ? work() : answer());
rsmq.quit();
