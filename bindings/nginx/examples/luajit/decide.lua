-- Decides one request through the C ABI: luajit decide.lua LIBRARY POLICY.toml. Prints status, code and body.
local ffi = require "ffi"
ffi.cdef [[
typedef struct { size_t struct_size; uint64_t now_ms; const char *method; size_t method_len; const char *target;
  size_t target_len; const void *headers; size_t headers_len; const uint8_t *peer; size_t peer_len; const uint8_t *body;
  size_t body_len; const uint8_t *body_sha256; uint64_t cost; uint8_t has_cost, peek; const char *sender; size_t sender_len;
  const char *invalid; size_t invalid_len; } tollgate_request_t;
const char *tollgate_last_error(void);
uint32_t tollgate_check_abi(uint32_t version);
uint32_t tollgate_policy_new(const char *text, size_t len, uint32_t format, void **policy);
uint32_t tollgate_engine_new(const void *policy, const uint8_t *pepper, size_t len, void **engine);
uint32_t tollgate_store_memory_new(const void *options, void **store);
uint32_t tollgate_decide(const void *engine, const void *store, const tollgate_request_t *request, void **decision);
uint32_t tollgate_decision_http_status(const void *decision);
const char *tollgate_decision_code(const void *decision);
uint32_t tollgate_decision_body(const void *decision, char *buffer, size_t capacity, size_t *len);
void tollgate_policy_free(void *); void tollgate_engine_free(void *);
void tollgate_store_free(void *); void tollgate_decision_free(void *);
]]
local tollgate = ffi.load(arg[1])
local function made(free, make, ...)
  local out, arguments = ffi.new "void *[1]", {...}
  arguments[#arguments + 1] = out
  local result = make(unpack(arguments, 1, #arguments))
  if result ~= 0 then error(ffi.string(tollgate.tollgate_last_error())) end
  return ffi.gc(out[0], free)
end
assert(tollgate.tollgate_check_abi(1) == 0, "another version of the library")
local text = assert(io.open(arg[2])):read "*a"
local policy = made(tollgate.tollgate_policy_free, tollgate.tollgate_policy_new, text, #text, 1)
local engine = made(tollgate.tollgate_engine_free, tollgate.tollgate_engine_new, policy, ffi.cast("uint8_t *", 0), 0)
local store = made(tollgate.tollgate_store_free, tollgate.tollgate_store_memory_new, ffi.cast("void *", 0))
local request = ffi.new("tollgate_request_t", { struct_size = ffi.sizeof "tollgate_request_t", now_ms = os.time() * 1000,
  method = "GET", method_len = 3, target = "/messages", target_len = 9 })
local decision = made(tollgate.tollgate_decision_free, tollgate.tollgate_decide, engine, store, request)
local body, len = ffi.new "char[1024]", ffi.new "size_t[1]"
assert(tollgate.tollgate_decision_body(decision, body, 1024, len) == 0)
print(tollgate.tollgate_decision_http_status(decision), ffi.string(tollgate.tollgate_decision_code(decision)))
print(ffi.string(body, len[0]))
