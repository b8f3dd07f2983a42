// The current node redis: HELLO 3 in a pipeline with CLIENT SETINFO, replies turned into objects by the client.
//   node modern.js PORT
import { createClient } from 'redis';
import { port, say, failure, looksLikeId, within, Inbox, until, restartServer, end } from './script.js';

async function connect(options = {}) {
  const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: () => 50 }, ...options });
  client.on('error', () => {});
  return client.connect();
}

const main = await connect();

async function handshake() {
  const hello = await main.hello();
  say('handshake hello', { proto: hello.proto, mode: hello.mode, role: hello.role, id: hello.id > 0 });
  say('handshake ping', await main.ping());
  const other = await connect({ database: 3, name: 'desk' });
  await other.set('where', 'three');
  say('handshake database', [await other.get('where'), await main.get('where')]);
  say('handshake name', await other.clientGetName());
  await other.close();
  const plain = await connect({ RESP: 2 });
  say('handshake resp2', [await plain.ping(), await plain.sendCommand(['CONFIG', 'GET', 'maxmemory-policy'])]);
  await plain.close();
}

async function streams() {
  for (let n = 1; n <= 4; n++) say(`streams xadd ${n}`, await main.xAdd('s', `${n}-1`, { action: 'created', n: `${n}` }));
  const trim = { TRIM: { strategy: 'MAXLEN', strategyModifier: '~', threshold: 1000 } };
  say('streams xadd auto', looksLikeId(await main.xAdd('t', '*', { f: 'v' }, trim)));
  say('streams nomkstream', await main.xAddNoMkStream('absent', '*', { f: 'v' }));
  say('streams xadd small id', await failure(main.xAdd('s', '1-1', { f: 'v' })));
  say('streams xlen', await main.xLen('s'));
  say('streams xrange', await main.xRange('s', '-', '+', { COUNT: 2 }));
  say('streams xrevrange', await main.xRevRange('s', '+', '(1-1'));
  say('streams xread', await main.xRead([{ key: 's', id: '2-1' }, { key: 't', id: '$' }], { COUNT: 2 }));
  say('streams xdel', await main.xDel('s', '4-1'));
  say('streams xtrim', await main.xTrim('t', 'MAXLEN', 0));
  const { 'radix-tree-keys': _, 'radix-tree-nodes': __, ...info } = await main.xInfoStream('s');
  say('streams info', info);
}

async function groups() {
  const read = (consumer, id, options) => main.xReadGroup('g', consumer, { key: 's', id }, options);
  say('groups create', await main.xGroupCreate('s', 'g', '0'));
  say('groups create again', await failure(main.xGroupCreate('s', 'g', '0')));
  say('groups create mkstream', await main.xGroupCreate('made', 'g', '$', { MKSTREAM: true }));
  say('groups createconsumer', await main.xGroupCreateConsumer('s', 'g', 'idle'));
  say('groups read', await read('a', '>', { COUNT: 2 }));
  say('groups read other', await read('b', '>'));
  say('groups read nothing', await read('b', '>'));
  say('groups history', await read('a', '0'));
  say('groups pending', await main.xPending('s', 'g'));
  const pending = await main.xPendingRange('s', 'g', '-', '+', 10);
  say('groups pending list', pending.map((each) => ({ ...each, millisecondsSinceLastDelivery: within(each.millisecondsSinceLastDelivery, 0, 60000) })));
  say('groups claim', await main.xClaim('s', 'g', 'b', 0, '1-1'));
  say('groups claim justid', await main.xClaimJustId('s', 'g', 'b', 0, ['2-1']));
  await main.xDel('s', '2-1');
  say('groups autoclaim', await main.xAutoClaim('s', 'g', 'c', 0, '0'));
  say('groups autoclaim justid', await main.xAutoClaimJustId('s', 'g', 'c', 0, '0'));
  say('groups ack', await main.xAck('s', 'g', ['1-1', '9-9']));
  say('groups noack', [await main.xAdd('s', '5-1', { n: '5' }), await read('n', '>', { NOACK: true })]);
  say('groups info', await main.xInfoGroups('s'));
  const consumers = await main.xInfoConsumers('s', 'g');
  say('groups consumers', consumers.map(({ name, pending: held, idle }) => [name, held, within(idle, 0, 60000)]).sort());
  say('groups missing', await failure(main.xReadGroup('nobody', 'a', { key: 's', id: '>' })));
  say('groups delconsumer', await main.xGroupDelConsumer('s', 'g', 'c'));
  say('groups destroy', await main.xGroupDestroy('s', 'g'));
}

async function blocking() {
  const reader = await connect();
  const blocked = () => until(async () => (await main.info('clients')).includes('blocked_clients:1'));
  say('blocking timeout', await reader.xRead({ key: 'b', id: '$' }, { BLOCK: 30 }));
  await main.xGroupCreate('b', 'g', '$', { MKSTREAM: true });
  const groupRead = reader.xReadGroup('g', 'a', { key: 'b', id: '>' }, { BLOCK: 0 });
  await blocked();
  await main.xAdd('b', '1-1', { f: 'v' });
  say('blocking group read', await groupRead);
  const plainRead = reader.xRead({ key: 'b', id: '$' }, { BLOCK: 0 });
  await blocked();
  await main.xAdd('b', '2-1', { f: 'w' });
  say('blocking read', await plainRead);
  await reader.close();
}

async function pubsub(subscriber, inbox) {
  await subscriber.subscribe(['news', 'sport'], (message, channel) => inbox.push('message', channel, message));
  await subscriber.pSubscribe('n[ae]ws*', (message, channel) => inbox.push('pmessage', channel, message));
  await subscriber.sSubscribe('shard', (message, channel) => inbox.push('smessage', channel, message));
  say('pubsub receivers', [await main.publish('news', 'one'), await main.publish('sport', 'two'), await main.sPublish('shard', 'three')]);
  say('pubsub messages', await inbox.take(4));
  say('pubsub channels', [(await main.pubSubChannels()).sort(), await main.pubSubShardChannels()]);
  say('pubsub counts', [await main.pubSubNumSub(['news', 'none']), await main.pubSubNumPat()]);
  say('pubsub commands while subscribed', [await subscriber.ping(), await subscriber.set('subscribed', 'yes')]);
  await subscriber.unsubscribe('sport');
  say('pubsub receivers after', await main.publish('sport', 'four'));
}

async function transactions() {
  say('transactions exec', await main.multi().xAdd('tx', '1-1', { f: 'v' }).set('a', '1').get('a').xLen('tx').xRange('tx', '-', '+').exec());
  const failing = await main.multi().set('a', '2').xLen('a').get('a').exec().catch((error) => error.replies);
  say('transactions error inside', failing.map(String));
  await main.watch('a');
  const rival = await connect();
  await rival.set('a', 'rival');
  say('transactions watch lost', await main.multi().set('a', 'mine').exec().catch((error) => error.constructor.name));
  await main.watch('a');
  say('transactions watch kept', await main.multi().get('a').exec());
  await rival.close();
}

async function keys() {
  say('keys set', [await main.set('k', 'v'), await main.get('k'), await main.get('none')]);
  say('keys set options', [await main.set('k', 'w', { condition: 'NX' }), await main.set('k', 'w', { expiration: { type: 'PX', value: 50000 } })]);
  say('keys expire', [within(await main.pTTL('k'), 1, 50000), await main.persist('k'), await main.ttl('k'), await main.ttl('none')]);
  say('keys expire again', [await main.expire('k', 100), await main.expire('k', 50, 'GT'), within(await main.expireTime('k'), 1e9, 1e11)]);
  say('keys types', [await main.type('k'), await main.type('s'), await main.type('none'), await main.exists(['k', 'k', 'none'])]);
  say('keys rename', [await main.rename('k', 'k2'), await failure(main.rename('k', 'k3'))]);
  const found = [];
  for await (const page of main.scanIterator({ TYPE: 'stream', COUNT: 3 })) found.push(...page);
  say('keys scan', found.sort());
  say('keys removed', [await main.del(['k2', 'none']), await main.unlink('s'), await main.flushAll(), await main.dbSize()]);
}

async function collections() {
  say('collections hash', [await main.hSet('h', { a: '1', b: 'x' }), await main.hGet('h', 'a'), await main.hmGet('h', ['a', 'none']), await main.hGetAll('h')]);
  say('collections hash counts', [await main.hIncrBy('h', 'a', 4), await main.hIncrByFloat('h', 'f', 1.5), await main.hLen('h'), await main.hDel('h', ['f', 'none']), await main.hExists('h', 'b')]);
  say('collections hash random', [(await main.hRandFieldCountWithValues('h', 5)).sort((a, b) => (a.field < b.field ? -1 : 1)), await main.hRandField('none')]);
  say('collections set', [await main.sAdd('m', ['a', 'b', 'c']), await main.sRem('m', 'c'), await main.sIsMember('m', 'a'), await main.smIsMember('m', ['a', 'z']), [...(await main.sMembers('m'))].sort()]);
  say('collections sorted set', [await main.zAdd('z', [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }, { score: Infinity, value: 'c' }]), await main.zScore('z', 'b'), await main.zScore('z', 'none'), await main.zRangeWithScores('z', 0, -1)]);
  say('collections by score', [await main.zRangeByScoreWithScores('z', '-inf', 2.5), await main.zRank('z', 'c'), await main.zIncrBy('z', 1, 'a'), await main.zPopMin('z'), await main.zPopMinCount('z', 5), await main.zPopMin('z')]);
  const waiting = await connect();
  const popped = waiting.bzPopMin('later', 0);
  await until(async () => (await main.info('clients')).includes('blocked_clients:1'));
  await main.zAdd('later', { score: 1.5, value: 'm' });
  say('collections blocking', await popped);
  await waiting.close();
  say('collections algebra', [await main.sAdd('m2', ['b', 'q']), await main.sInter(['m', 'm2']), await main.sInterCard(['m', 'm2']), await main.zAdd('z2', { score: 4, value: 'a' }), await main.zUnionWithScores(['z2', 'm2'])]);
  say('collections strings', [await main.append('str', 'abc'), await main.getRange('str', 1, -1), await main.incrByFloat('n', 0.5), await main.getDel('str'), await main.mGet(['str', 'n'])]);
  say('collections wrong type', await failure(main.sAdd('h', 'x')));
}

async function scripts() {
  say('scripts eval', await main.eval("return {KEYS[1], ARGV[1], 3.9, false, {1, {'deep'}}}", { keys: ['k'], arguments: ['a'] }));
  say('scripts resp3', await main.eval("redis.setresp(3); return {{double = 1.5}, {map = {a = 1}}, redis.call('HGETALL', KEYS[1])}", { keys: ['h'] }));
  const sha = await main.scriptLoad("return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
  say('scripts evalsha', [sha, await main.evalSha(sha, { keys: ['counted'], arguments: ['7'] }), await main.scriptExists([sha, 'f'.repeat(40)])]);
  say('scripts missing', await failure(main.evalSha('f'.repeat(40))));
  say('scripts error', await failure(main.eval("return redis.error_reply('MINE told')")));
}

async function reconnect(inbox) {
  await restartServer();
  await until(async () => main.isReady);
  say('reconnect command', await main.set('after', 'restart'));
  const restored = async () => [(await main.pubSubNumSub('news')).news, await main.pubSubNumPat(), (await main.pubSubShardNumSub('shard')).shard];
  await until(async () => (await restored()).every((n) => n === 1));
  say('reconnect subscriptions', [await main.publish('news', 'still here'), await main.sPublish('shard', 'too'), await inbox.take(3)]);
}

await handshake();
await streams();
await groups();
await blocking();
const inbox = new Inbox();
await pubsub(await connect(), inbox);
await transactions();
await keys();
await collections();
await scripts();
await reconnect(inbox);
end();
