// node consumer.js PORT GROUP CONSUMER: at most once (NOACK); prints every entry that it is given.
import redis from 'redis3';
import { connection, stream, message, untilInputCloses } from './common.js';

const client = redis.createClient(connection);
const [group, consumer] = process.argv.slice(3);
let running = true;

client.xgroup('CREATE', stream, group, '$', 'MKSTREAM', (error) => {
  if (!error) console.log(`group ${group} created`);
  else if (error.code === 'BUSYGROUP') console.log(`group ${group} exists`);
  else console.log(`ERROR: ${error}`);
});

function read() {
  client.xreadgroup('GROUP', group, consumer, 'BLOCK', 100, 'NOACK', 'STREAMS', stream, '>', (error, reply) => {
    if (error) return console.log(`ERROR: ${error}`);
    for (const entry of reply ? reply[0][1] : []) console.log(`Message: ${message(entry).n}`);
    if (running) read();
    else client.quit();
  });
}
read();
untilInputCloses(() => { running = false; });
