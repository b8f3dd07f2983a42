// node producer.js PORT FIRST COUNT: adds numbered entries, fields written by hand.
import redis from 'redis3';
import { connection, stream } from './common.js';

const client = redis.createClient(connection);
const [first, count] = process.argv.slice(3).map(Number);
for (let n = first; n < first + count; n++) {
  client.xadd(stream, '*', 'action', 'action_type', 'n', n, 'key_2', 'value_2', (error, id) => console.log(error ? `ERROR: ${error}` : `added ${id}`));
}
client.quit();
