local call, sub = redis.call, string.sub

