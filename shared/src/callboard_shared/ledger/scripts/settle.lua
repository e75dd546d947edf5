-- ARGV: id (a blocked job of this queue), the job it waited for, and how that one ended. A step of a pipeline whose last
--       dependency has succeeded is told so with what it made of it: "ready" max_turns max_bytes spec batch weight
--       expires_in(ms or "") says(as in submit, or ""), or "failed" problem(JSON).
-- Returns {ring, "ignored" | "waits" | "ready" | "failed" | "unfilled" (a step of a pipeline was not told what came of
-- it: nothing changed)}; {0, "unknown" | "full" | "busy", job that answers}: the message that a step says may not join
-- its conversation, and nothing changed. Saying it twice does nothing.
local id, other, outcome, made, figures = ARGV[1], ARGV[2], ARGV[3], ARGV[4], {}
local job = load_job(id)
if not job or job.status ~= "blocked" or call("SISMEMBER", K.waits .. id, other) == 0 then return { 0, "ignored" } end

local function fail(problem)
  leave(id, job)
  end_job(id, "failed", job, { "error", problem }, figures)
  write_usage(figures)
  return { 0, "failed" }
end

if outcome ~= "succeeded" then
  local detail = "It was to run after " .. other .. ", which " .. (outcome == "missing" and "no longer exists"
    or "ended as " .. outcome) .. ". Submit it again when that one can succeed."
  return fail('{"type":"urn:callboard:problem:dependency-failed",'
    .. '"title":"A job it depends on did not succeed","status":409,"code":"dependency-failed","retryable":false,'
    .. '"detail":"' .. detail .. '"}')
end
if call("SCARD", K.waits .. id) > 1 then
  call("SREM", K.waits .. id, other)
  return { 0, "waits" }
end
if job.pipeline then
  if not made then return { 0, "unfilled" } end
  if made == "failed" then return fail(ARGV[5]) end
  local says = ARGV[11] ~= "" and cjson.decode(ARGV[11])
  if says then
    local refused, by = hindrance(says, job.owner, tonumber(ARGV[5]), tonumber(ARGV[6]))
    if refused then return { 0, refused, by or "" } end
    call("HSET", K.job .. id, "conversation", says.conversation)
    join(id, says)
  end
  call("SET", K.spec .. id, ARGV[7])
  call("HSET", K.job .. id, "batch", ARGV[8], "weight", ARGV[9])
end
call("DEL", K.waits .. id)
local due = tonumber(call("HGET", K.job .. id, "due") or "0")
if job.pipeline and ARGV[10] ~= "" then
  local expires = int(math.max(NOW, due) + tonumber(ARGV[10]))
  call("HSET", K.job .. id, "expires", expires)
  call("ZADD", K.expiry, expires, id)
end
if due > NOW then
  call("ZREM", K.blocked, id)
  call("HSET", K.job .. id, "status", "scheduled")
  call("ZADD", K.due, due, id)
  emit_status(id, "scheduled", job.attempt, job)
  notify(id, job.watch)
  return { 0, "waits" }
end
make_ready(id, job)
return { call_for_hands(), "ready" }
