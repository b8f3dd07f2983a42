// What the small services of an existing Node.js system share. Each runs until its standard input closes.
export const connection = { host: '127.0.0.1', port: Number(process.argv[2]) };
export const stream = 'streamsKey';
export const channel = 'notify-event';
export const queue = 'notify-event';

/** [f1, v1, f2, v2] as an object. */
export const message = ([id, pairs]) => {
  const fields = { id };
  for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1];
  return fields;
};

export const untilInputCloses = (stop) => process.stdin.on('end', stop).resume();
