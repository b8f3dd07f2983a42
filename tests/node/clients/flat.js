// The clients whose methods take a command's arguments as they stand on the wire:
// node redis 2.8 and 3.1 (callbacks, RESP2, INFO as ready check) and ioredis (promises, HELLO 3).
//   node flat.js PORT redis2|redis3|ioredis
import { port, say, failure, looksLikeId, within, Inbox, until, restartServer, end } from './script.js';

const kind = process.argv[3];

const adapters = {
  async callbacks() {
    const { default: redis } = await import(kind);
    return {
      connect: (options = {}) => {
        const client = redis.createClient({ port, host: '127.0.0.1', retry_strategy: () => 50, ...options });
        client.on('error', () => {});
        return client;
      },
      call: (client, name, ...args) => new Promise((resolve, reject) => {
        const done = (error, reply) => (error ? reject(error) : resolve(reply));
        if (client[name]) client[name](...args, done);
        else client.send_command(name, args, done);
      }),
      exec: (multi) => new Promise((resolve, reject) => multi.exec((error, replies) => (error ? reject(error) : resolve(replies)))),
      ready: (client) => new Promise((resolve) => { if (client.ready) resolve(); else client.once('ready', resolve); }),
      facts: (client) => ({ loading: client.server_info.loading, mode: client.server_info.redis_mode, role: client.server_info.role }),
    };
  },
  async promises() {
    const { default: Redis } = await import('ioredis');
    return {
      connect: (options = {}) => {
        const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, maxRetriesPerRequest: null, ...options });
        client.on('error', () => {});
        return client;
      },
      call: (client, name, ...args) => (client[name] ? client[name](...args) : client.call(name, ...args)),
      exec: (multi) => multi.exec(),
      ready: (client) => new Promise((resolve) => { if (client.status === 'ready') resolve(); else client.once('ready', resolve); }),
      facts: () => ({}),
    };
  },
};
const { connect, call, exec, ready, facts } = await (kind === 'ioredis' ? adapters.promises() : adapters.callbacks());

const main = connect();
const run = (...command) => call(main, ...command);

async function handshake() {
  await ready(main);
  say('handshake facts', facts(main));
  say('handshake protocol', /resp=\d/.exec(await run('client', 'info'))?.[0]);
  say('handshake ping', await run('ping'));
  say('handshake echo', await run('echo', 'héllo'));
  const other = connect({ db: 3 });
  await ready(other);
  await call(other, 'set', 'where', 'three');
  say('handshake database', [await call(other, 'get', 'where'), await run('get', 'where')]);
  await call(other, 'client', 'setname', 'desk');
  say('handshake name', await call(other, 'client', 'getname'));
  say('handshake quit', await call(other, 'quit'));
}

async function streams() {
  for (let n = 1; n <= 4; n++) say(`streams xadd ${n}`, await run('xadd', 's', `${n}-1`, 'action', 'created', 'n', `${n}`));
  say('streams xadd auto', looksLikeId(await run('xadd', 't', 'MAXLEN', '~', '1000', '*', 'f', 'v')));
  say('streams xadd small id', await failure(run('xadd', 's', '1-1', 'f', 'v')));
  say('streams xlen', await run('xlen', 's'));
  say('streams xrange', await run('xrange', 's', '-', '+', 'COUNT', '2'));
  say('streams xrevrange', await run('xrevrange', 's', '+', '(1-1'));
  say('streams xread', await run('xread', 'COUNT', '2', 'STREAMS', 's', 't', '2-1', '$'));
  say('streams xdel', await run('xdel', 's', '4-1'));
  say('streams xtrim', await run('xtrim', 't', 'MAXLEN', '0'));
  say('streams wrong type', [await run('set', 'string', 'x'), await failure(run('xlen', 'string'))]);
}

async function groups() {
  say('groups create', await run('xgroup', 'CREATE', 's', 'g', '0'));
  say('groups create again', await failure(run('xgroup', 'CREATE', 's', 'g', '0')));
  say('groups create without stream', await failure(run('xgroup', 'CREATE', 'absent', 'g', '$')));
  say('groups create mkstream', await run('xgroup', 'CREATE', 'made', 'g', '$', 'MKSTREAM'));
  say('groups read', await run('xreadgroup', 'GROUP', 'g', 'a', 'COUNT', '2', 'STREAMS', 's', '>'));
  say('groups read other', await run('xreadgroup', 'GROUP', 'g', 'b', 'STREAMS', 's', '>'));
  say('groups read nothing', await run('xreadgroup', 'GROUP', 'g', 'b', 'STREAMS', 's', '>'));
  say('groups history', await run('xreadgroup', 'GROUP', 'g', 'a', 'STREAMS', 's', '0'));
  say('groups pending', await run('xpending', 's', 'g'));
  const pending = await run('xpending', 's', 'g', '-', '+', '10');
  say('groups pending list', pending.map(([id, owner, idle, count]) => [id, owner, within(idle, 0, 60000), count]));
  say('groups claim', await run('xclaim', 's', 'g', 'b', '0', '1-1'));
  say('groups claim justid', await run('xclaim', 's', 'g', 'b', '0', '2-1', 'JUSTID'));
  await run('xdel', 's', '2-1');
  say('groups history of a deleted entry', await run('xreadgroup', 'GROUP', 'g', 'b', 'STREAMS', 's', '0'));
  say('groups autoclaim', await run('xautoclaim', 's', 'g', 'c', '0', '0'));
  say('groups ack', await run('xack', 's', 'g', '1-1', '9-9'));
  say('groups noack', [await run('xadd', 's', '5-1', 'n', '5'), await run('xreadgroup', 'GROUP', 'g', 'n', 'NOACK', 'STREAMS', 's', '>')]);
  say('groups info', await run('xinfo', 'GROUPS', 's'));
  say('groups stream info', await run('xinfo', 'STREAM', 's'));
  say('groups missing', await failure(run('xreadgroup', 'GROUP', 'nobody', 'a', 'STREAMS', 's', '>')));
  say('groups delconsumer', await run('xgroup', 'DELCONSUMER', 's', 'g', 'c'));
  say('groups setid', await run('xgroup', 'SETID', 's', 'g', '0'));
  say('groups destroy', await run('xgroup', 'DESTROY', 's', 'g'));
}

async function blocking() {
  const reader = connect();
  await ready(reader);
  say('blocking timeout', await call(reader, 'xread', 'BLOCK', '30', 'STREAMS', 'b', '$'));
  await run('xgroup', 'CREATE', 'b', 'g', '$', 'MKSTREAM');
  const blockedRead = call(reader, 'xreadgroup', 'GROUP', 'g', 'a', 'BLOCK', '0', 'STREAMS', 'b', '>');
  await until(async () => /blocked_clients:1/.test(await run('info', 'clients')));
  await run('xadd', 'b', '1-1', 'f', 'v');
  say('blocking group read', await blockedRead);
  const plainRead = call(reader, 'xread', 'BLOCK', '0', 'STREAMS', 'b', '$');
  await until(async () => /blocked_clients:1/.test(await run('info', 'clients')));
  await run('xadd', 'b', '2-1', 'f', 'w');
  say('blocking read', await plainRead);
  say('blocking quit', await call(reader, 'quit'));
}

async function pubsub(subscriber, inbox) {
  subscriber.on('message', (...args) => inbox.push('message', ...args));
  subscriber.on('pmessage', (...args) => inbox.push('pmessage', ...args));
  await ready(subscriber);
  say('pubsub subscribe', await call(subscriber, 'subscribe', 'news', 'sport'));
  say('pubsub psubscribe', await call(subscriber, 'psubscribe', 'n[ae]ws*'));
  say('pubsub receivers', [await run('publish', 'news', 'one'), await run('publish', 'sport', 'two'), await run('publish', 'nobody', '')]);
  say('pubsub messages', await inbox.take(3));
  say('pubsub channels', (await run('pubsub', 'CHANNELS')).sort());
  say('pubsub counts', [await run('pubsub', 'NUMSUB', 'news', 'none'), await run('pubsub', 'NUMPAT')]);
  say('pubsub unsubscribe', await call(subscriber, 'unsubscribe', 'sport'));
  say('pubsub receivers after', await run('publish', 'sport', 'three'));
}

async function transactions() {
  say('transactions exec', await exec(main.multi().xadd('tx', '1-1', 'f', 'v').set('a', '1').get('a').xlen('tx').xrange('tx', '-', '+')));
  const failing = await exec(main.multi().set('a', '2').xlen('a').get('a'));
  say('transactions error inside', failing.map((reply) => (reply instanceof Error ? reply.message : reply)).flat().map(String));
  say('transactions refused', await failure(exec(main.multi().set('a', '3').set('a'))));
  await run('watch', 'a');
  const rival = connect();
  await ready(rival);
  await call(rival, 'set', 'a', 'rival');
  say('transactions watch lost', await exec(main.multi().set('a', 'mine')));
  await run('watch', 'a');
  say('transactions watch kept', await exec(main.multi().get('a')));
  await call(rival, 'quit');
}

async function keys() {
  say('keys set', [await run('set', 'k', 'v'), await run('get', 'k'), await run('get', 'none')]);
  say('keys set options', [await run('set', 'k', 'w', 'NX'), await run('set', 'k', 'w', 'XX', 'PX', '50000')]);
  say('keys expire', [within(await run('pttl', 'k'), 1, 50000), await run('persist', 'k'), await run('ttl', 'k'), await run('ttl', 'none')]);
  say('keys types', [await run('type', 'k'), await run('type', 's'), await run('type', 'none')]);
  say('keys exists', await run('exists', 'k', 'k', 's', 'none'));
  say('keys rename', [await run('rename', 'k', 'k2'), await failure(run('rename', 'k', 'k3'))]);
  say('keys keys', (await run('keys', 'k*')).sort());
  let [cursor, found] = ['0', []];
  do {
    const [next, page] = await run('scan', cursor, 'MATCH', '*', 'COUNT', '3');
    cursor = next;
    found = found.concat(page);
  } while (cursor !== '0');
  say('keys scan', found.sort());
  await run('set', 'short', 'x', 'PX', '1');
  await until(async () => (await run('exists', 'short')) === 0);
  say('keys removed', [await run('del', 'k2', 'none'), await run('unlink', 's', 't'), within(await run('dbsize'), 1, 100), await run('flushall'), await run('dbsize')]);
  say('keys unknown', await failure(run('get')));
}

async function collections() {
  say('collections hash', [await run('hset', 'h', 'a', '1', 'b', 'x'), await run('hget', 'h', 'a'), await run('hmget', 'h', 'a', 'none'), await run('hgetall', 'h')]);
  say('collections hash counts', [await run('hincrby', 'h', 'a', '4'), await run('hincrbyfloat', 'h', 'f', '1.5'), await run('hlen', 'h'), await run('hdel', 'h', 'f', 'none'), await run('hexists', 'h', 'b')]);
  say('collections set', [await run('sadd', 'm', 'a', 'b', 'c'), await run('srem', 'm', 'c'), await run('sismember', 'm', 'a'), await run('smismember', 'm', 'a', 'z'), (await run('smembers', 'm')).sort()]);
  say('collections sorted set', [await run('zadd', 'z', '1', 'a', '2.5', 'b', 'inf', 'c'), await run('zscore', 'z', 'b'), await run('zscore', 'z', 'none'), await run('zrange', 'z', '0', '-1', 'WITHSCORES')]);
  say('collections by score', [await run('zrangebyscore', 'z', '-inf', '2.5', 'WITHSCORES', 'LIMIT', '0', '10'), await run('zrank', 'z', 'c'), await run('zincrby', 'z', '1', 'a'), await run('zpopmin', 'z'), await run('zcard', 'z')]);
  const waiting = connect();
  await ready(waiting);
  const popped = call(waiting, 'bzpopmin', 'later', '0');
  await until(async () => /blocked_clients:1/.test(await run('info', 'clients')));
  await run('zadd', 'later', '1.5', 'm');
  say('collections blocking', await popped);
  await call(waiting, 'quit');
  say('collections strings', [await run('append', 'str', 'abc'), await run('getrange', 'str', '1', '-1'), await run('incrbyfloat', 'n', '0.5'), await run('getdel', 'str'), await run('mget', 'str', 'n')]);
  say('collections wrong type', await failure(run('sadd', 'h', 'x')));
}

async function scripts() {
  say('scripts eval', await run('eval', "return {KEYS[1], ARGV[1], 3.9, false, {1, {'deep'}}}", '1', 'k', 'a'));
  const sha = await run('script', 'load', "return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
  say('scripts evalsha', [sha, await run('evalsha', sha, '1', 'counted', '7'), await run('script', 'exists', sha, 'f'.repeat(40))]);
  say('scripts status', await run('eval', "return redis.status_reply('FINE')", '0'));
  say('scripts missing', await failure(run('evalsha', 'f'.repeat(40), '0')));
  say('scripts error', await failure(run('eval', "return redis.error_reply('MINE told')", '0')));
  say('scripts wrong type', (await failure(run('eval', "return redis.call('XLEN', KEYS[1])", '1', 'counted'))).split(' script:')[0]);
}

async function reconnect(inbox) {
  await restartServer();
  await ready(main);
  say('reconnect command', await run('set', 'after', 'restart'));
  await until(async () => (await run('pubsub', 'NUMSUB', 'news'))[1] === 1 && (await run('pubsub', 'NUMPAT')) === 1);
  say('reconnect subscriptions', [await run('publish', 'news', 'still here'), await inbox.take(2)]);
}

await handshake();
await streams();
await groups();
await blocking();
const inbox = new Inbox();
await pubsub(connect(), inbox);
await transactions();
await keys();
await collections();
await scripts();
await reconnect(inbox);
end();
