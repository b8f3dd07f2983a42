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
await reconnect(inbox);
end();
