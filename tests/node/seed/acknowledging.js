// node acknowledging.js PORT GROUP CONSUMER ABANDONED_AFTER_MS [stall]: at least once, as a service of the redis 2.8 generation does it by hand:
// read, handle, XACK; now and then XPENDING for entries that a sibling left behind, XCLAIM them, handle, XACK.
// With `stall` it hangs before its first ack.
import redis from 'redis2';
import { connection, stream, message, untilInputCloses } from './common.js';

const [group, consumer, abandonedAfterMs, stall] = process.argv.slice(3);
const client = redis.createClient(connection);
let running = true;
untilInputCloses(() => { running = false; });

const call = (command, ...args) => new Promise((resolve, reject) => {
  client.send_command(command, args, (error, reply) => (error ? reject(error) : resolve(reply)));
});

async function handle(entries, how) {
  for (const entry of entries) {
    if (stall) {
      console.log(`holding ${entries.length}`);
      await new Promise(() => {});
    }
    console.log(`${how} ${message(entry).n}`);
    console.log(`acked ${await call('xack', stream, group, entry[0])}`);
  }
}

async function takeOver() {
  const pending = await call('xpending', stream, group, '-', '+', 10);
  const abandoned = pending.filter(([, owner, idle]) => owner !== consumer && idle >= abandonedAfterMs).map(([id]) => id);
  if (abandoned.length === 0) return;
  await handle(await call('xclaim', stream, group, consumer, abandonedAfterMs, ...abandoned), 'took over');
}

try {
  await call('xgroup', 'CREATE', stream, group, '0', 'MKSTREAM').catch((error) => { if (error.code !== 'BUSYGROUP') throw error; });
  console.log('ready');
  while (running) {
    const reply = await call('xreadgroup', 'GROUP', group, consumer, 'BLOCK', 100, 'COUNT', 5, 'STREAMS', stream, '>');
    if (reply) await handle(reply[0][1], 'handled');
    await takeOver();
  }
} catch (error) {
  console.error(error);
  process.exit(1);
}
client.quit();
