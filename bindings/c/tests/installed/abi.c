/* Calls every function of the header, well and badly, so that memory checkers see each: abi DIRECTORY. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tollgate.h>

#define TEXT(text) (text), strlen(text)

#define CHECK(condition)                                                                                                 \
  do {                                                                                                                   \
    if (!(condition)) {                                                                                                  \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, tollgate_last_error());             \
      exit(1);                                                                                                           \
    }                                                                                                                    \
  } while (0)
#define OK(call) CHECK((call) == TOLLGATE_OK)
#define FAILS(result, call) CHECK((call) == (result) && tollgate_last_error()[0] != 0)

static const uint64_t now_ms = 1700000000000;
static const char *token = "tok-0123456789";
static const char *policy_text = "[tokens]\nformat = \"opaque\"\n"
                                 "[scopes]\nsend = [\"POST /send\"]\n"
                                 "[limits.token]\nper = \"token\"\nquota = 100\nwindow_ms = 60_000\n"
                                 "[limits.brief]\nper = \"account\"\nquota = 1000\nwindow_ms = 1\nroutes = [\"POST /send\"]\nshadow = true\n"
                                 "[routes.\"POST /send\"]\nidempotency = true\nprice = 5\n";

static tollgate_policy_t *policies(void) {
  tollgate_policy_t *policy = NULL;
  tollgate_str_t warning;
  FAILS(TOLLGATE_POLICY_INVALID, tollgate_policy_new(TEXT("[limits"), TOLLGATE_POLICY_TOML, &policy));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_policy_new(TEXT("x"), 99, &policy));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_policy_new(TEXT("no such"), TOLLGATE_POLICY_PRESET, &policy));
  FAILS(TOLLGATE_NULL_POINTER, tollgate_policy_new(NULL, 1, TOLLGATE_POLICY_TOML, &policy));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_policy_new("x", SIZE_MAX, TOLLGATE_POLICY_TOML, &policy));
  FAILS(TOLLGATE_NOT_UTF8, tollgate_policy_new("\xff", 1, TOLLGATE_POLICY_TOML, &policy));
  CHECK(policy == NULL);
  OK(tollgate_policy_new(TEXT("sms-gateway"), TOLLGATE_POLICY_PRESET, &policy));
  CHECK(!tollgate_policy_trusts_proxies(policy));
  OK(tollgate_policy_patch(policy, TEXT("{\"source\":{\"trusted_proxies\":[\"10.0.0.0/8\"]}}")));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_policy_patch(policy, TEXT("{")));
  CHECK(tollgate_policy_trusts_proxies(policy));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_policy_warning(policy, tollgate_policy_warning_count(policy), &warning));
  tollgate_policy_free(policy);
  tollgate_policy_free(NULL);
  OK(tollgate_policy_new(TEXT(policy_text), TOLLGATE_POLICY_TOML, &policy));
  for (size_t i = 0; i < tollgate_policy_warning_count(policy); i++) {
    OK(tollgate_policy_warning(policy, i, &warning));
    CHECK(warning.len > 0);
  }
  return policy;
}

static tollgate_engine_t *engines(void) {
  tollgate_policy_t *policy = policies();
  tollgate_engine_t *engine = NULL;
  uint8_t digest[32], again[32];
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_engine_new(policy, (const uint8_t *)"short", 5, &engine));
  FAILS(TOLLGATE_NULL_POINTER, tollgate_engine_new(NULL, NULL, 0, &engine));
  OK(tollgate_engine_new(policy, (const uint8_t *)"sixteen bytes at least", 22, &engine));
  OK(tollgate_engine_digest(engine, TEXT(token), digest));
  OK(tollgate_engine_reload(engine, policy));
  FAILS(TOLLGATE_NULL_POINTER, tollgate_engine_reload(engine, NULL));
  OK(tollgate_engine_digest(engine, TEXT(token), again));
  CHECK(memcmp(digest, again, 32) == 0);
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_engine_digest(engine, TEXT("no token"), digest));
  tollgate_policy_free(policy);
  tollgate_engine_free(NULL);
  return engine;
}

static bool count_account(void *user, const char *account, size_t account_len) {
  CHECK(account_len > 0 && account != NULL);
  return ++*(int *)user < 2;
}

static bool count_token(void *user, const tollgate_token_t *one) {
  *(int *)user += one->revoked ? 100 : 1;
  return true;
}

static bool count_reservation(void *user, const tollgate_reservation_t *one) {
  CHECK(one->amount >= one->posted);
  ++*(int *)user;
  return true;
}

/* Accounts and tokens on one store. */
static void administer(const tollgate_engine_t *engine, const tollgate_store_t *store) {
  tollgate_str_t networks[] = {{TEXT("192.0.2.0/24")}}, senders[] = {{TEXT("ACME")}}, scopes[] = {{TEXT("send")}};
  tollgate_spend_cap_t caps[] = {{500, TOLLGATE_PER_DAY, 0}};
  tollgate_account_settings_t account = {.struct_size = sizeof account};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .scopes = scopes, .scopes_len = 1, .set_scopes = 1};
  tollgate_wallet_t wallet;
  uint8_t digest[32], second[32], third[32];
  int count = 0;

  account.networks = networks;
  account.networks_len = 1;
  account.spend_caps = caps;
  account.spend_caps_len = 1;
  account.senders = senders;
  account.senders_len = 1;
  account.set_networks = account.set_spend_caps = account.set_senders = 1;
  OK(tollgate_account_put(store, TEXT("acct_1"), 100, &account, now_ms));
  OK(tollgate_account_put(store, TEXT("acct_2"), 0, NULL, now_ms));
  OK(tollgate_account_put(store, TEXT("acct_3"), 0, NULL, now_ms));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_account_put(store, "", 0, 0, NULL, now_ms));
  networks[0] = (tollgate_str_t){TEXT("nowhere")};
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_account_put(store, TEXT("acct_1"), 0, &account, now_ms));
  account.struct_size = 3;
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_account_put(store, TEXT("acct_1"), 0, &account, now_ms));
  OK(tollgate_account_deposit(store, TEXT("acct_1"), 50, now_ms));
  FAILS(TOLLGATE_UNKNOWN_ACCOUNT, tollgate_account_deposit(store, TEXT("acct_9"), 1, now_ms));
  OK(tollgate_account_wallet(store, TEXT("acct_1"), now_ms, &wallet));
  CHECK(wallet.balance == 150 && wallet.available == 150);
  FAILS(TOLLGATE_NULL_POINTER, tollgate_account_wallet(store, TEXT("acct_1"), now_ms, NULL));
  OK(tollgate_account_list(store, NULL, 0, 10, now_ms, count_account, &count));
  CHECK(count == 2); /* false ended it */
  FAILS(TOLLGATE_NULL_POINTER, tollgate_account_list(store, NULL, 0, 10, now_ms, NULL, NULL));

  OK(tollgate_engine_digest(engine, TEXT(token), digest));
  OK(tollgate_engine_digest(engine, TEXT("tok-second"), second));
  OK(tollgate_engine_digest(engine, TEXT("tok-third"), third));
  settings.set_quota = TOLLGATE_CLEAR;
  OK(tollgate_token_put(store, digest, TEXT("acct_1"), &settings, now_ms));
  OK(tollgate_token_put(store, second, TEXT("acct_1"), NULL, now_ms));
  FAILS(TOLLGATE_FOREIGN_TOKEN, tollgate_token_put(store, digest, TEXT("acct_2"), NULL, now_ms));
  OK(tollgate_token_rotate(store, second, third, 1000, now_ms));
  FAILS(TOLLGATE_TOKEN_EXISTS, tollgate_token_rotate(store, second, digest, 1000, now_ms));
  OK(tollgate_token_revoke(store, second, now_ms));
  second[0] ^= 1;
  FAILS(TOLLGATE_UNKNOWN_TOKEN, tollgate_token_revoke(store, second, now_ms));
  count = 0;
  OK(tollgate_token_list(store, TEXT("acct_1"), now_ms, count_token, &count));
  CHECK(count == 102);
  FAILS(TOLLGATE_UNKNOWN_ACCOUNT, tollgate_token_list(store, TEXT("acct_9"), now_ms, count_token, &count));
}

static tollgate_request_t a_request(tollgate_header_t headers[2], const char *key) {
  tollgate_request_t request = {.struct_size = sizeof request, .now_ms = now_ms, .headers = headers, .headers_len = 2};
  headers[0] = (tollgate_header_t){TEXT("Authorization"), TEXT("Bearer tok-0123456789")};
  headers[1] = (tollgate_header_t){TEXT("Idempotency-Key"), key, strlen(key)};
  request.method = "POST";
  request.method_len = 4;
  request.target = "/send";
  request.target_len = 5;
  request.peer = (const uint8_t *)"\xc0\0\2\1";
  request.peer_len = 4;
  return request;
}

static void read_decision(const tollgate_decision_t *decision) {
  tollgate_header_t headers[16];
  char buffer[1024];
  size_t count, used;
  uint64_t number;
  tollgate_str_t route;
  CHECK(tollgate_decision_code(decision)[0] != 0);
  tollgate_decision_status(decision);
  tollgate_decision_holds_key(decision);
  tollgate_decision_shadows(decision);
  tollgate_decision_reserved(decision, &number);
  tollgate_decision_reservation(decision, &number);
  tollgate_decision_retry_at(decision, &number);
  CHECK(!tollgate_decision_reserved(decision, NULL) || number > 0);
  OK(tollgate_decision_route(decision, &route));
  CHECK(route.len == strlen("POST /send"));
  OK(tollgate_decision_account(decision, buffer, sizeof buffer, &used));
  FAILS(TOLLGATE_BUFFER_TOO_SMALL, tollgate_decision_account(decision, buffer, 1, &used));
  CHECK(used == 6);
  OK(tollgate_decision_store_error(decision, buffer, sizeof buffer, &used));
  OK(tollgate_decision_body(decision, buffer, sizeof buffer, &used));
  FAILS(TOLLGATE_BUFFER_TOO_SMALL, tollgate_decision_headers(decision, headers, 0, &count, NULL, 0, &used));
  /* Exactly as much as is needed, so that a byte more would be seen. */
  char *exact = malloc(used);
  tollgate_header_t *rows = malloc(count * sizeof *rows);
  OK(tollgate_decision_headers(decision, rows, count, &count, exact, used, &used));
  free(rows);
  free(exact);
}

/* One request to its end, in the form of one call. */
static void one_call(const tollgate_engine_t *engine, const tollgate_store_t *store) {
  tollgate_header_t headers[2];
  tollgate_request_t request = a_request(headers, "one-call");
  tollgate_decision_t *decision = NULL, *replayed, *would;
  tollgate_explanation_t *explanation;
  tollgate_trace_step_t step;
  tollgate_response_t response = {.struct_size = sizeof response, .status = 201, .body = (const uint8_t *)"body", .body_len = 4};
  tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = TOLLGATE_SETTLE, .response = &response};
  uint64_t reservation, posted = 7, expired;
  bool has_posted = false;
  int count = 0;

  FAILS(TOLLGATE_NULL_POINTER, tollgate_decide(engine, NULL, &request, &decision));
  request.peer_len = 5;
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_decide(engine, store, &request, &decision));
  request.peer_len = 4;
  OK(tollgate_explain(engine, store, &request, &explanation));
  for (size_t i = 0; i < tollgate_explanation_step_count(explanation); i++) {
    OK(tollgate_explanation_step(explanation, i, &step));
  }
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_explanation_step(explanation, 1000, &step));
  OK(tollgate_explanation_decision(explanation, &would));
  tollgate_explanation_free(explanation);
  CHECK(tollgate_decision_verdict(would) == TOLLGATE_ALLOW);
  tollgate_decision_free(would);

  OK(tollgate_decide(engine, store, &request, &decision));
  CHECK(tollgate_decision_verdict(decision) == TOLLGATE_ALLOW && tollgate_decision_must_finish(decision));
  CHECK(tollgate_decision_http_status(decision) == 200);
  read_decision(decision);
  CHECK(tollgate_decision_reservation(decision, &reservation));
  finish.outcome = 99;
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
  CHECK(!has_posted && posted == 7);
  finish.outcome = TOLLGATE_SETTLE;
  OK(tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
  CHECK(has_posted && posted == 5);
  OK(tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
  finish.outcome = TOLLGATE_VOID;
  FAILS(TOLLGATE_ALREADY_FINISHED, tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
  OK(tollgate_decide(engine, store, &request, &replayed));
  CHECK(tollgate_decision_verdict(replayed) == TOLLGATE_REPLAY && tollgate_decision_http_status(replayed) == 201);
  tollgate_decision_free(replayed);
  tollgate_decision_free(decision);

  OK(tollgate_reservation_refund(store, TEXT("acct_1"), reservation, 2, TEXT("ref"), now_ms));
  FAILS(TOLLGATE_MORE_THAN_POSTED, tollgate_reservation_refund(store, TEXT("acct_1"), reservation, 9, TEXT("ref-2"), now_ms));
  OK(tollgate_reservation_list(store, TEXT("acct_1"), now_ms, count_reservation, &count));
  CHECK(count > 0);
  finish = (tollgate_finish_t){.struct_size = sizeof finish, .outcome = TOLLGATE_UNKNOWN};
  FAILS(TOLLGATE_NOT_A_RESOLUTION, tollgate_reservation_resolve(store, TEXT("acct_1"), reservation, &finish, now_ms, &has_posted, &posted));
  finish.outcome = TOLLGATE_SETTLE;
  OK(tollgate_reservation_resolve(store, TEXT("acct_1"), reservation, &finish, now_ms, &has_posted, &posted));
  OK(tollgate_store_expire(store, now_ms, &expired));
}

/* Another to its end, step by step; the store is freed amid it. */
static void steps(const tollgate_engine_t *engine, const tollgate_store_t *store) {
  tollgate_header_t headers[2];
  tollgate_request_t request = a_request(headers, "steps");
  tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = TOLLGATE_SETTLE, .has_amount = 1, .amount = 3};
  tollgate_operation_t *operation, *end;
  tollgate_decision_t *decision = NULL;
  bool has_posted;
  uint64_t posted;

  OK(tollgate_operation_decide(engine, &request, true, &operation));
  FAILS(TOLLGATE_NOT_READY, tollgate_operation_decision(operation, &decision));
  CHECK(tollgate_operation_command(operation) == TOLLGATE_COMMAND_LOOKUP && !tollgate_operation_wants_body(operation));
  OK(tollgate_operation_perform(operation, store));
  CHECK(tollgate_operation_command(operation) == TOLLGATE_COMMAND_ADMIT && tollgate_operation_wants_body(operation));
  OK(tollgate_operation_perform(operation, store));
  FAILS(TOLLGATE_FINISHED, tollgate_operation_perform(operation, store));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_operation_finished(operation, &has_posted, &posted));
  OK(tollgate_operation_decision(operation, &decision));
  FAILS(TOLLGATE_FINISHED, tollgate_operation_decision(operation, &decision));
  tollgate_operation_free(operation);
  OK(tollgate_operation_finish(decision, &finish, now_ms, &end));
  CHECK(tollgate_operation_command(end) == TOLLGATE_COMMAND_SETTLE);
  OK(tollgate_operation_perform(end, store));
  OK(tollgate_operation_finished(end, &has_posted, &posted));
  CHECK(has_posted && posted == 3);
  tollgate_operation_free(end);
  tollgate_decision_free(decision);

  OK(tollgate_operation_decide(engine, &request, false, &operation));
  OK(tollgate_operation_fail(operation, TEXT("the network is gone")));
  OK(tollgate_operation_decision(operation, &decision));
  CHECK(tollgate_decision_status(decision) == TOLLGATE_STATUS_STORE_UNAVAILABLE);
  tollgate_decision_free(decision);
  tollgate_operation_free(operation);
  OK(tollgate_operation_decide(engine, &request, false, &operation));
  tollgate_operation_free(operation); /* unperformed */
  tollgate_operation_free(NULL);
}

/* A server that knows no token, and one that speaks nonsense. */
static void redis(const tollgate_engine_t *engine) {
  static const char *replies[] = {"*-1\r\n", "nonsense\r\n", "-ERR no\r\n", "$-1\r\n", "*1\r\n$-1\r\n"};
  tollgate_redis_options_t options = {.struct_size = sizeof options, .prefix = "t", .prefix_len = 1};
  tollgate_redis_t *redis = NULL;
  tollgate_header_t headers[2];
  tollgate_request_t request = a_request(headers, "redis");
  tollgate_str_t bytes, key;
  size_t consumed;

  FAILS(TOLLGATE_NULL_POINTER, tollgate_redis_new(&options, NULL));
  OK(tollgate_redis_new(&options, &redis));
  for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
    tollgate_operation_t *operation;
    tollgate_decision_t *decision;
    OK(tollgate_operation_decide(engine, &request, true, &operation));
    OK(tollgate_operation_redis_start(operation, redis, (const uint8_t *)"sixteen bytes ok"));
    FAILS(TOLLGATE_NOT_READY, tollgate_operation_redis_start(operation, redis, NULL));
    int rounds = 0;
    for (size_t calls; (calls = tollgate_operation_redis_calls(operation)) > 0 && rounds < 10; rounds++) {
      for (size_t call = 0; call < calls; call++) {
        const uint8_t *reply = (const uint8_t *)replies[i];
        OK(tollgate_operation_redis_call(operation, call, &bytes, &key));
        CHECK(bytes.len > 0);
        FAILS(TOLLGATE_NOT_READY, tollgate_operation_redis_reply(operation, call, reply, 1, &consumed));
        tollgate_operation_redis_reply(operation, call, reply + 1, strlen(replies[i]) - 1, &consumed);
      }
      FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_operation_redis_call(operation, calls, &bytes, &key));
      OK(tollgate_operation_redis_resume(operation));
    }
    FAILS(TOLLGATE_FINISHED, tollgate_operation_redis_resume(operation));
    OK(tollgate_operation_decision(operation, &decision));
    CHECK(tollgate_decision_verdict(decision) == TOLLGATE_DENY);
    tollgate_decision_free(decision);
    tollgate_operation_free(operation);
  }
  tollgate_redis_free(redis);
  tollgate_redis_free(NULL);
}

static tollgate_limits_t *regions(const char *directory, void **memory) {
  size_t cells, windows, size, again, processes;
  tollgate_limits_t *limits = NULL, *file;
  char path[4096];
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_region_fit(10, &cells, &windows, &size));
  OK(tollgate_region_fit(400000, &cells, &windows, &size));
  OK(tollgate_region_size(cells, windows, &again));
  CHECK(size == again && size <= 400000);
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_region_size(SIZE_MAX, SIZE_MAX, &again));
  *memory = calloc(1, size);
  FAILS(TOLLGATE_STORE_NOT_OPENED, tollgate_limits_region_attach(*memory, size, &limits));
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_region_create(*memory, size - 8, cells, windows, NULL));
  OK(tollgate_region_create(*memory, size, cells, windows, NULL));
  OK(tollgate_limits_region_attach(*memory, size, &limits));
  OK(tollgate_limits_reclaim_dead(limits, now_ms, &processes));
  CHECK(processes == 0);
  snprintf(path, sizeof path, "%s/region", directory);
  OK(tollgate_limits_region_open(TEXT(path), cells, windows, &file));
  tollgate_limits_free(file);
  FAILS(TOLLGATE_STORE_NOT_OPENED, tollgate_limits_region_open(TEXT("/no/such/place"), cells, windows, &file));
  tollgate_limits_free(NULL);
  return limits;
}

static tollgate_host_result_t refuse(void *user, bool writes, void **transaction) {
  *transaction = user;
  return writes ? TOLLGATE_HOST_FULL : TOLLGATE_HOST_UNAVAILABLE;
}

/* A host's map whose transactions cannot begin; `wrapper.cpp` has one that works. */
static void host_map(void) {
  tollgate_host_options_t options = {.struct_size = sizeof options, .max_accounts = 5};
  tollgate_host_map_t map = {.struct_size = sizeof map, .begin = refuse};
  tollgate_store_t *store = NULL;
  FAILS(TOLLGATE_NULL_POINTER, tollgate_store_host_open(&map, NULL, &options, &store));
  map.struct_size = 4;
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_store_host_open(&map, NULL, &options, &store));
  FAILS(TOLLGATE_NULL_POINTER, tollgate_store_host_open(NULL, NULL, NULL, &store));
  CHECK(store == NULL);
}

static void logged(void *user, tollgate_log_level_t level, const char *message, size_t message_len) {
  CHECK(level >= 1 && level <= 3 && message_len > 0 && message != NULL);
  ++*(int *)user;
}

int main(int argc, char **argv) {
  static int messages;
  char buffer[64];
  size_t len;
  CHECK(argc == 2);
  OK(tollgate_check_abi(TOLLGATE_ABI_VERSION));
  FAILS(TOLLGATE_ABI_MISMATCH, tollgate_check_abi(TOLLGATE_ABI_VERSION + 1));
  CHECK(tollgate_abi_version() == TOLLGATE_ABI_VERSION && tollgate_version()[0] != 0);
  CHECK(strcmp(tollgate_result_name(TOLLGATE_STORE_FULL), "TOLLGATE_STORE_FULL") == 0);
  CHECK(strcmp(tollgate_result_name(999), "TOLLGATE_?") == 0);
  OK(tollgate_set_log(logged, &messages));
  OK(tollgate_token_generate(NULL, buffer, sizeof buffer, &len));
  FAILS(TOLLGATE_BUFFER_TOO_SMALL, tollgate_token_generate(NULL, buffer, 3, &len));

  tollgate_engine_t *engine = engines();
  CHECK(messages > 0);
  OK(tollgate_set_log(NULL, NULL));
  redis(engine);
  host_map();

  tollgate_store_t *store = NULL, *ledger;
  tollgate_memory_options_t bounds = {.struct_size = sizeof bounds, .max_accounts = 100};
  OK(tollgate_store_memory_new(&bounds, &store));
  administer(engine, store);
  one_call(engine, store);
  steps(engine, store);
  tollgate_store_free(store);
  tollgate_store_free(NULL);

  /* On disk, with limits in a region before it. */
  void *memory;
  tollgate_lmdb_options_t disk = {.struct_size = sizeof disk, .map_bytes = 1 << 24, .sync = TOLLGATE_SYNC_NEVER};
  disk.sync = 99;
  FAILS(TOLLGATE_INVALID_ARGUMENT, tollgate_store_lmdb_open(TEXT(argv[1]), &disk, &ledger));
  disk.sync = TOLLGATE_SYNC_NEVER;
  FAILS(TOLLGATE_STORE_NOT_OPENED, tollgate_store_lmdb_open(TEXT("/no/such/place"), &disk, &ledger));
  OK(tollgate_store_lmdb_open(TEXT(argv[1]), &disk, &ledger));
  tollgate_limits_t *limits = regions(argv[1], &memory);
  OK(tollgate_store_composite_new(limits, ledger, &store));
  tollgate_limits_free(limits); /* the composite keeps what it needs */
  tollgate_store_free(ledger);
  administer(engine, store);
  one_call(engine, store);
  steps(engine, store);
  tollgate_store_free(store);
  free(memory);

  FAILS(TOLLGATE_STORE_NOT_OPENED, tollgate_store_redis_open(TEXT("no url"), NULL, &store));
  OK(tollgate_store_redis_open(TEXT("redis://127.0.0.1:1"), NULL, &store));
  tollgate_store_free(store); /* nothing was asked of it */
  tollgate_engine_free(engine);
  puts("every function was called");
  return 0;
}
