-- The same accounting for Redis: what a page of populate and decrease costs there, with the claim test, the
-- max_pages test, a ledger of owners, a physmap and a free list. ARGV: operation, domid, gfn or path, value.
local operation, domid, what, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local domain = 'domain:' .. domid

if operation == 'populate' then
  local free = redis.call('LLEN', 'free')
  local outstanding = tonumber(redis.call('GET', 'outstanding'))
  local fields = redis.call('HMGET', domain, 'tot_pages', 'max_pages', 'outstanding', 'dying')
  local tot_pages, own_claim = tonumber(fields[1]), tonumber(fields[3])
  if outstanding + 1 > free and own_claim < 1 then return 0 end
  local mfn = redis.call('LPOP', 'free')
  if not mfn then return 0 end
  if fields[4] == '1' or tot_pages + 1 > tonumber(fields[2]) then
    redis.call('LPUSH', 'free', mfn)
    return 0
  end
  if own_claim > 0 then
    redis.call('HINCRBY', domain, 'outstanding', -1)
    redis.call('DECR', 'outstanding')
  end
  redis.call('HINCRBY', domain, 'tot_pages', 1)
  redis.call('HSET', 'owner', mfn, domid)
  redis.call('HSET', 'p2m:' .. domid, what, mfn)
  return 1
elseif operation == 'decrease' then
  local mfn = redis.call('HGET', 'p2m:' .. domid, what)
  if not mfn or redis.call('HGET', 'owner', mfn) ~= domid then return 0 end
  redis.call('HDEL', 'p2m:' .. domid, what)
  redis.call('HDEL', 'owner', mfn)
  redis.call('HINCRBY', domain, 'tot_pages', -1)
  redis.call('LPUSH', 'free', mfn)
  return 1
elseif operation == 'put' then
  if tonumber(redis.call('GET', 'outstanding')) + 1 > redis.call('LLEN', 'free') then return 0 end
  local mfn = redis.call('LPOP', 'free')
  if not mfn then return 0 end
  redis.call('HSET', 'tmem:' .. domid, what, mfn .. ' ' .. value)
  redis.call('HSET', 'owner', mfn, 'tmem')
  return 1
elseif operation == 'get' then
  local page = redis.call('HGET', 'tmem:' .. domid, what)
  if not page then return 0 end
  local mfn = string.match(page, '^%d+')
  redis.call('HDEL', 'tmem:' .. domid, what)
  redis.call('HDEL', 'owner', mfn)
  redis.call('LPUSH', 'free', mfn)
  return 1
elseif operation == 'reservation' then
  return tonumber(redis.call('HGET', domain, what))
elseif operation == 'write' then
  redis.call('HSET', 'store', what, value)
  return 0
elseif operation == 'read' then
  return redis.call('HEXISTS', 'store', what)
end
return 0
