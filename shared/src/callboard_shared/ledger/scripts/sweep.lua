-- ARGV: limit full(0/1: memory is short, new jobs are to be refused). One pass over a queue: due, lapsed, expired, forgotten; rates; the bell.
-- Returns {ring, more(0/1: a list was longer than the limit), made due, lapsed, expired, forgotten, file ids freed, rows to settle, blocked ids to look at,
--          ended steps past their retention as "pipeline id": theirs to keep until it has ended}
local limit, figures = tonumber(ARGV[1]), {}
if ARGV[2] == "1" then call("HSET", K.stats, "full", "1") else call("HDEL", K.stats, "full") end
local function upto(key) return call("ZRANGEBYSCORE", key, "-inf", NOW, "LIMIT", 0, limit) end

local due = upto(K.due)
for _, id in ipairs(due) do
  local job = load_job(id)
  if job and job.status == "scheduled" then make_ready(id, job) else call("ZREM", K.due, id) end
end

local lapsed = upto(K.lease)
for _, id in ipairs(lapsed) do lapse(id, figures) end

local expired, overdue = 0, upto(K.expiry)
for _, id in ipairs(overdue) do
  local job = load_job(id)
  if job and not job.claimed and (job.status == "queued" or job.status == "scheduled" or job.status == "blocked") then
    leave(id, job)
    end_job(id, "expired", job, {}, figures)
    expired = expired + 1
  else
    call("ZREM", K.expiry, id)
  end
end

local files, old, steps, kept_back = {}, upto(K.ended), {}, 0
for _, id in ipairs(old) do
  local kept = call("HMGET", K.job .. id, "owner", "files", "pipeline", "group")
  if kept[3] then
    steps[#steps + 1] = kept[3] .. " " .. id
    kept_back = kept_back + 1
    call("ZADD", K.ended, "XX", NOW + 30000, id)
  elseif kept[4] and call("EXISTS", K.tally .. kept[4]) == 1 then -- its batch has not ended
    kept_back = kept_back + 1
    call("ZADD", K.ended, "XX", NOW + 30000, id)
  else
    for file in string.gmatch(kept[2] or "", "%S+") do files[#files + 1] = file end
    forget(id, kept[1] or "")
  end
end
write_usage(figures)

-- Workers that fell silent long ago, slots of those online, and the rate of the last seconds.
for _, worker in ipairs(call("ZRANGEBYSCORE", K.workers, "-inf", NOW - 60000)) do
  call("ZREM", K.workers, worker)
  call("DEL", K.worker .. worker)
end
local slots = 0
for _, worker in ipairs(call("ZRANGEBYSCORE", K.workers, NOW, "+inf")) do
  slots = slots + tonumber(call("HGET", K.worker .. worker, "slots") or "0")
end
call("ZREMRANGEBYSCORE", K.runners, "-inf", NOW)
call("ZREMRANGEBYSCORE", K.listeners, "-inf", NOW)
local s = call("HMGET", K.stats, "done", "seen_done", "seen_at", "rate")
local done, seen_at = tonumber(s[1] or "0"), tonumber(s[3] or NOW)
if NOW - seen_at >= 1000 or not s[3] then
  local rate, passed = tonumber(s[4] or "0"), math.max(1, NOW - seen_at) / 1000
  local share = 1 - math.exp(-passed / 5) -- a mean over about five seconds
  rate = rate + share * ((done - tonumber(s[2] or "0")) / passed - rate)
  if not s[3] or rate < 0.001 then rate = 0 end
  call("HSET", K.stats, "seen_done", done, "seen_at", int(NOW), "rate", string.format("%.6f", rate))
end
call("HSET", K.stats, "slots", slots)

-- Each blocked job is looked at again now and then, in turn: many that wait long hide no new one.
local blocked = upto(K.blocked)
for _, id in ipairs(blocked) do call("ZADD", K.blocked, "XX", NOW + 30000, id) end

local ring = 0
if total_ready() > 0 then ring = call_for_hands() end
local more = math.max(#due, #lapsed, #overdue, #old) >= limit and 1 or 0
return { ring, more, #due, #lapsed, expired, #old - kept_back, files, call("SRANDMEMBER", K.settle, limit), blocked, steps }
