-- ARGV: id (a blocked job of this queue), the job it waited for, and how that one ended.
-- Returns {ring, "ignored" | "waits" | "ready" | "failed"}. Saying it twice does nothing.
local id, other, outcome, figures = ARGV[1], ARGV[2], ARGV[3], {}
local job = load_job(id)
if not job or job.status ~= "blocked" or call("SREM", K.waits .. id, other) == 0 then return { 0, "ignored" } end
if outcome ~= "succeeded" then
  leave(id, job)
  local detail = "It was to run after " .. other .. ", which " .. (outcome == "missing" and "no longer exists"
    or "ended as " .. outcome) .. ". Submit it again when that one can succeed."
  end_job(id, "failed", job, { "error", '{"type":"urn:callboard:problem:dependency-failed",'
    .. '"title":"A job it depends on did not succeed","status":409,"code":"dependency-failed","retryable":false,'
    .. '"detail":"' .. detail .. '"}' }, figures)
  write_usage(figures)
  return { 0, "failed" }
end
if call("SCARD", K.waits .. id) > 0 then return { 0, "waits" } end
local due = tonumber(call("HGET", K.job .. id, "due") or "0")
if due > NOW then
  call("ZREM", K.blocked, id)
  call("HSET", K.job .. id, "status", "scheduled")
  call("ZADD", K.due, due, id)
  emit_status(id, "scheduled", job.attempt)
  notify(id, job.watch)
  return { 0, "waits" }
end
make_ready(id, job)
return { call_for_hands(), "ready" }
