-- ARGV: runner lease_ms answered(0/1) listen_ms(0: leave) max_jobs, then per type: name max_jobs max_weight
-- max_jobs 0 takes nothing: the runner leaves, and calls for another if work is left.
-- Returns {ready left, ring, {id type attempt max_attempts timeout created batch spec waited cancel…}…}
local runner, lease_ms, listen_ms, max_total = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local limits = {}
for i = 6, #ARGV, 3 do limits[ARGV[i]] = { tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]) } end
if ARGV[3] == "1" then call("HSET", K.bell, "waiting", "0") end
call("ZADD", K.runners, NOW + lease_ms, runner)

local claimed, figures = {}, {}
local batch, room, weight_left = nil, max_total, nil
local runs = {} -- owner -> jobs claimed here

-- Whether this job may join what is claimed so far; takes it if so. "expired" frees its place as well. Gives also
-- whether it was counted as waiting.
local function take(id)
  local job = load_job(id)
  if not job then return "gone" end
  if job.expires and not job.claimed and tonumber(job.expires) <= NOW then
    call("ZREM", K.expiry, id)
    end_job(id, "expired", job, {}, figures)
    return "gone", not job.group
  end
  local key, weight = job.batch or job.type, tonumber(job.weight or "1")
  if batch == nil then
    local limit = limits[job.type] or { 1, 0 }
    batch, room = key, math.min(max_total, limit[1])
    weight_left = limit[2] > 0 and limit[2] or nil
  elseif key ~= batch or (weight_left and weight > weight_left) then
    return "stay"
  end
  if weight_left then weight_left = weight_left - weight end
  local attempt = int(tonumber(job.attempt) + 1)
  local fields = { "status", "running", "attempt", attempt, "worker", runner, "claimed", int(NOW) }
  if not job.started then
    fields[#fields + 1] = "started"
    fields[#fields + 1] = int(NOW)
  end
  call("HSET", K.job .. id, unpack(fields))
  emit_status(id, "running", attempt, job)
  notify(id, job.watch)
  tell("job", id, "running", job, attempt)
  claimed[#claimed + 1] = { id, job.type, attempt, job.max_attempts, job.timeout, job.created, key,
    call("GET", K.spec .. id), job.owner }
  observe("wait", job.type, NOW - tonumber(job.ready_at or job.created))
  runs[job.owner] = (runs[job.owner] or 0) + 1
  return "taken", not job.group
end

local function from_line(priority, owner, most)
  local gone, waiting, stopped = {}, 0, false
  for _, id in ipairs(call("ZRANGE", line_key(priority, owner), 0, most - 1)) do
    local what, counted = take(id)
    if what == "stay" then
      stopped = true
      break
    end
    gone[#gone + 1] = id
    if counted then waiting = waiting + 1 end
    if #claimed >= room then break end
  end
  if #gone > 0 then
    drop_ready(owner, priority, gone)
    count_waiting(owner, -waiting)
  end
  return #gone, stopped
end

local capped = call("EXISTS", K.caps) == 1

-- How many more jobs of this owner may run.
local function free(owner)
  local cap = capped and cap_of(owner, "running")
  if not cap then return math.huge end
  return cap - tonumber(call("HGET", K.running, owner) or "0") - (runs[owner] or 0)
end

-- Those whose turn is next, up to a hundred; who has as many running as the key may have is passed over.
local function next_owners(priority)
  if not capped then return call("ZRANGE", K.rota .. priority, 0, 99) end
  local found, at = {}, 0
  while #found < 100 do
    local part = call("ZRANGE", K.rota .. priority, at, at + 99)
    if #part == 0 then break end
    for _, owner in ipairs(part) do
      if free(owner) > 0 then found[#found + 1] = owner end
    end
    at = at + 100
  end
  return found
end

-- Round the owners, one job each; alone, an owner may give as many as there is room for.
local function from_priority(priority)
  while #claimed < room do
    local owners, progress = next_owners(priority), false
    if #owners == 0 then return true end
    local alone = #owners == 1
    for _, owner in ipairs(owners) do
      local most = alone and math.min(math.min(room, max_total) - #claimed, free(owner)) or 1
      local before = #claimed
      local gone = from_line(priority, owner, most)
      if gone > 0 then progress = true end
      if #claimed > before and not alone and call("ZSCORE", K.rota .. priority, owner) then
        call("ZADD", K.rota .. priority, call("HINCRBY", K.stats, "turn", 1), owner)
      end
      if #claimed >= room then return false end
    end
    if not progress then return false end
  end
  return false
end

if call("HEXISTS", K.stats, "paused") == 0 then
  local priorities = call("HKEYS", K.ready)
  table.sort(priorities, function(a, b) return tonumber(a) > tonumber(b) end)
  for _, priority in ipairs(priorities) do
    if not from_priority(priority) then break end
  end
end

if #claimed > 0 then
  observe("batch", claimed[1][2], #claimed)
  -- Their entries in K.expiry stay until the sweep meets them or they are forgotten: taking each out here is what
  -- made claims slower the more jobs waited.
  local leases = {}
  for _, job in ipairs(claimed) do
    leases[#leases + 1] = NOW + lease_ms
    leases[#leases + 1] = job[1]
  end
  call("ZADD", K.lease, unpack(leases))
  for owner, n in pairs(runs) do call("HINCRBY", K.running, owner, n) end
end
write_usage(figures)

local left, ring = 0, 0
if call("HEXISTS", K.stats, "paused") == 0 then left = total_ready() end
if capped and max_total > 0 and #claimed == 0 then left = 0 end -- what is ready waits for what its key has running
if #claimed > 0 or listen_ms == 0 then
  call("ZREM", K.listeners, runner)
elseif left == 0 then
  call("DEL", K.wake .. runner)
  call("ZADD", K.listeners, NOW + listen_ms, runner)
end
if listen_ms == 0 and #claimed == 0 then call("ZREM", K.runners, runner) end
if left > 0 and (#claimed > 0 or max_total == 0) then ring = call_for_hands() end
return { left, ring, unpack(claimed) }
