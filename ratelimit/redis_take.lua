-- Takes tokens from a bucket that all gateways share (the generic cell rate algorithm): KEYS[1] is the time at which it will be full again.
-- ARGV: a number that comes back, the time after which nobody waits for the answer, us per token, burst, tokens that
-- were taken already, tokens wanted, tokens worth coming back for.
-- Answers the number, the tokens granted, and in how many us those worth coming back for will be there. Times are in us, of this server's clock.
local each, burst = tonumber(ARGV[3]), tonumber(ARGV[4])
local taken, want, need = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
if now > tonumber(ARGV[2]) then return redis.error_reply('LATE') end
local full = tonumber(redis.call('GET', KEYS[1]) or '') or 0
if full ~= full then full = 0 end -- not a number
-- A time that no gateway can have caused is from another clock, before a failover.
full = math.min(math.max(full, now), now + 4 * burst * each) + taken * each
local granted = math.max(0, math.min(want, math.floor(burst - (full - now) / each)))
full = full + granted * each
local keep = math.min((full - now) / 1000 + 1000, 2592000000)
redis.call('SET', KEYS[1], string.format('%.2f', full), 'PX', string.format('%.0f', keep))
return {ARGV[1], granted, math.max(0, math.ceil(full - now - (burst - need) * each))}
