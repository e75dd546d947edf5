-- ARGV: runner. The process is known to be dead: what it held is ready again at once, its attempt used up.
-- Returns {ring, number of jobs}.
local runner, figures, n = ARGV[1], {}, 0
call("ZREM", K.runners, runner)
call("ZREM", K.listeners, runner)
for _, id in ipairs(call("ZRANGE", K.lease, 0, -1)) do
  if call("HGET", K.job .. id, "worker") == runner then
    lapse(id, figures)
    n = n + 1
  end
end
write_usage(figures)
return { n > 0 and call_for_hands() or 0, n }
