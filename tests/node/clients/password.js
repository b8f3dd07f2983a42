// Every Node client against a server that wants a password: with the right one, and what it says of a wrong one.
//   node password.js PORT SECRET
import { port, say, end } from './script.js';

const secret = process.argv[3];
const address = { host: '127.0.0.1', port };

const callbacks = (name) => async (password) => {
  const { default: redis } = await import(name);
  const client = redis.createClient({ ...address, password, retry_strategy: () => undefined });
  return new Promise((resolve, reject) => {
    client.on('error', (error) => (error.code === 'CONNECTION_BROKEN' ? undefined : reject(error)));
    client.ping((error, reply) => (error ? reject(error) : resolve(reply)));
  });
};

const clients = {
  redis2: callbacks('redis2'),
  redis3: callbacks('redis3'),
  async ioredis(password) {
    const { default: Redis } = await import('ioredis');
    const client = new Redis({ ...address, password, retryStrategy: () => null, lazyConnect: true });
    client.on('error', () => {});
    await client.connect();
    return client.ping();
  },
  async redis(password) {
    const { createClient } = await import('redis');
    const client = createClient({ socket: { ...address, reconnectStrategy: false }, password });
    client.on('error', () => {});
    await client.connect();
    return client.ping();
  },
};

for (const [name, ping] of Object.entries(clients)) {
  for (const [kind, password] of [['right', secret], ['wrong', `${secret}!`]]) {
    const outcome = await ping(password).catch((error) => error.message);
    say(`password ${kind} ${name}`, outcome);
  }
}
end();
