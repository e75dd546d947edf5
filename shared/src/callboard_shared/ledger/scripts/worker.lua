-- ARGV: "beat" worker ttl_ms field value … | "gone" worker | "list"
-- "list" returns per online worker {id, fields, ids of jobs it runs}; a runner's name begins with its worker's.
if ARGV[1] == "beat" then
  call("ZADD", K.workers, NOW + tonumber(ARGV[3]), ARGV[2])
  call("HSET", K.worker .. ARGV[2], unpack(ARGV, 4))
  call("HSET", K.worker .. ARGV[2], "beat", int(NOW))
  call("HSETNX", K.worker .. ARGV[2], "started", int(NOW))
  local slots = 0
  for _, worker in ipairs(call("ZRANGEBYSCORE", K.workers, NOW, "+inf")) do
    slots = slots + tonumber(call("HGET", K.worker .. worker, "slots") or "0")
  end
  call("HSET", K.stats, "slots", slots)
  return {}
end
if ARGV[1] == "gone" then
  call("ZREM", K.workers, ARGV[2])
  call("DEL", K.worker .. ARGV[2])
  return {}
end
local running, reply = {}, {}
for _, id in ipairs(call("ZRANGE", K.lease, 0, 999)) do
  local worker = string.match(call("HGET", K.job .. id, "worker") or "", "^[^#]+")
  if worker then
    running[worker] = running[worker] or {}
    table.insert(running[worker], id)
  end
end
for _, worker in ipairs(call("ZRANGEBYSCORE", K.workers, NOW, "+inf")) do
  reply[#reply + 1] = { worker, call("HGETALL", K.worker .. worker), running[worker] or {} }
end
return reply
