-- How tries ended. ARGV: breaker_failures breaker_after_ms breaker_open_ms disable_after_ms, then per try:
--   id attempt outcome delay_ms account(JSON) reason
-- outcome: delivered | failed (nothing more is tried) | exhausted | again (after delay_ms) | skipped (again, the destination
-- was not asked) | released (not tried after all: due now). reason: disables the endpoint.
-- Returns per try "recorded", or "stale" when the claim was another's by now: then nothing changed.
local breaker_failures, breaker_after, breaker_open, disable_after = tonumber(ARGV[1]), tonumber(ARGV[2]),
  tonumber(ARGV[3]), tonumber(ARGV[4])
local STRIDE, reply = 6, {}

-- The destination failed once more: after many times in a row its circuit opens, after days it is disabled.
local function failed(delivery)
  local key = K.health .. delivery.lane
  local failures = call("HINCRBY", key, "failures", 1)
  call("HSETNX", key, "since", int(NOW))
  call("PEXPIRE", key, 2 * disable_after)
  local lasted = NOW - tonumber(call("HGET", key, "since"))
  if failures >= breaker_failures and lasted >= breaker_after then
    call("HSET", key, "open_until", int(NOW + breaker_open))
  end
  if delivery.endpoint ~= "" and lasted >= disable_after and call("HEXISTS", K.endpoint .. delivery.endpoint, "disabled_at") == 0 then
    disable(delivery.endpoint, "Nothing but failures for " .. math.floor(disable_after / 86400000) .. " days.")
  end
end

for at = 5, #ARGV, STRIDE do
  local id, outcome, delay, reason = ARGV[at], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 5]
  local delivery = load(id)
  if not delivery or (delivery.state ~= "flying" and delivery.state ~= "skipped") or delivery.attempt ~= ARGV[at + 1] then
    reply[#reply + 1] = "stale"
  else
    reply[#reply + 1] = "recorded"
    if outcome ~= "released" then note(id, delivery, ARGV[at + 4]) end
    if outcome == "delivered" then
      call("DEL", K.health .. delivery.lane)
    elseif outcome ~= "released" and outcome ~= "skipped" then
      failed(delivery)
    end
    if reason ~= "" and delivery.endpoint ~= "" then disable(delivery.endpoint, reason) end
    if outcome == "released" then
      wait_in_lane(id, delivery.lane, NOW)
    elseif outcome == "again" or outcome == "skipped" then
      call("HINCRBY", K.counters, outcome == "again" and "retried" or "skipped", 1)
      if delivery["then"] then
        give_way(id, delivery)
      else
        call("HSET", K.delivery .. id, "status", "failed", "step", int(tonumber(delivery.step) + 1))
        wait_in_lane(id, delivery.lane, NOW + delay)
      end
    else
      over(id, delivery, outcome)
    end
    land(id, delivery)
  end
end
return reply
