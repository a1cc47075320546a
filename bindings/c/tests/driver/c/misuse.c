/* Numbers that are none, handles that have given their result, buffers that are too small, handles that are gone. */
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

static const char *unknown_numbers(fixture_t *f) {
  void *untouched = f;
  tollgate_policy_t *policy = untouched;
  for (uint32_t format = 0; format < 300; format += 4) { /* 4, 8, …: none of 1, 2 and 3 */
    REQUIRE(tollgate_policy_new("{}", 2, format, &policy) == TOLLGATE_INVALID_ARGUMENT);
  }
  REQUIRE(tollgate_policy_new("{}", 2, UINT32_MAX, &policy) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(tollgate_policy_new("nobody", 6, TOLLGATE_POLICY_PRESET, &policy) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(policy == untouched);

  bool has_posted;
  uint64_t posted, number = 0;
  REQUIRE(tollgate_decision_reservation(f->allowed, &number));
  const uint32_t no_outcomes[] = {0, 4, 255, UINT32_MAX};
  for (size_t i = 0; i < 4; i++) {
    tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = no_outcomes[i]};
    tollgate_operation_t *operation;
    REQUIRE(tollgate_finish(f->allowed, f->store, &finish, NOW_MS, &has_posted, &posted) == TOLLGATE_INVALID_ARGUMENT);
    REQUIRE(tollgate_operation_finish(f->allowed, &finish, NOW_MS, &operation) == TOLLGATE_INVALID_ARGUMENT);
    REQUIRE(tollgate_reservation_resolve(f->store, "acme", 4, number, &finish, NOW_MS, &has_posted, &posted) ==
            TOLLGATE_INVALID_ARGUMENT);
  }
  tollgate_finish_t unknown = {.struct_size = sizeof unknown, .outcome = TOLLGATE_UNKNOWN};
  REQUIRE(tollgate_reservation_resolve(f->store, "acme", 4, number, &unknown, NOW_MS, &has_posted, &posted) ==
          TOLLGATE_NOT_A_RESOLUTION);
  unknown.has_amount = 1;
  REQUIRE(tollgate_finish(f->allowed, f->store, &unknown, NOW_MS, &has_posted, &posted) == TOLLGATE_INVALID_ARGUMENT);
  unknown.has_amount = 0;
  unknown.response = &f->response;
  REQUIRE(tollgate_finish(f->allowed, f->store, &unknown, NOW_MS, &has_posted, &posted) == TOLLGATE_INVALID_ARGUMENT);
  const uint32_t no_statuses[] = {0, 99, 1000, 65536 + 200, UINT32_MAX};
  for (size_t i = 0; i < 5; i++) {
    f->response.status = no_statuses[i];
    REQUIRE(tollgate_finish(f->allowed, f->store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_INVALID_ARGUMENT);
  }
  f->response.status = 201;

  tollgate_lmdb_options_t lmdb = {.struct_size = sizeof lmdb, .sync = 3};
  tollgate_store_t *store = untouched;
  REQUIRE(tollgate_store_lmdb_open(f->directory, strlen(f->directory), &lmdb, &store) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(store == untouched);

  const uint32_t no_periods[] = {0, 4, UINT32_MAX};
  for (size_t i = 0; i < 3; i++) {
    tollgate_spend_cap_t cap = {.amount = 1, .per = no_periods[i]};
    tollgate_account_settings_t settings = {.struct_size = sizeof settings, .spend_caps = &cap, .spend_caps_len = 1, .set_spend_caps = 1};
    REQUIRE(tollgate_account_put(f->store, "acme", 4, 0, &settings, NOW_MS) == TOLLGATE_INVALID_ARGUMENT);
  }
  for (unsigned set = 3; set < 256; set++) {
    tollgate_token_settings_t settings = {.struct_size = sizeof settings, .set_quota = (uint8_t)set};
    REQUIRE(tollgate_token_put(f->store, f->digest, "acme", 4, &settings, NOW_MS) == TOLLGATE_INVALID_ARGUMENT);
    settings.set_quota = 0;
    settings.set_expires = (uint8_t)set;
    REQUIRE(tollgate_token_put(f->store, f->digest, "acme", 4, &settings, NOW_MS) == TOLLGATE_INVALID_ARGUMENT);
  }
  for (size_t peer_len = 1; peer_len < 20; peer_len++) {
    static const uint8_t peer[20];
    tollgate_decision_t *decision = NULL;
    f->request.peer = peer;
    f->request.peer_len = peer_len;
    bool is_address = peer_len == 4 || peer_len == 16;
    f->request.peek = 1;
    tollgate_result_t result = tollgate_decide(f->engine, f->store, &f->request, &decision);
    REQUIRE(result == (is_address ? TOLLGATE_OK : TOLLGATE_INVALID_ARGUMENT));
    tollgate_decision_free(decision);
  }
  REQUIRE(tollgate_check_abi(TOLLGATE_ABI_VERSION + 1) == TOLLGATE_ABI_MISMATCH);
  REQUIRE(tollgate_check_abi(0) == TOLLGATE_ABI_MISMATCH);
  REQUIRE(strcmp(tollgate_result_name(9), "TOLLGATE_?") == 0);
  REQUIRE(strcmp(tollgate_result_name(UINT32_MAX), "TOLLGATE_?") == 0);
  /* Nothing of all that was taken. */
  tollgate_wallet_t wallet;
  REQUIRE(tollgate_account_wallet(f->store, "acme", 4, NOW_MS, &wallet) == TOLLGATE_OK);
  REQUIRE(wallet.balance == 95 && wallet.posted == 5 && wallet.held == 10 && wallet.open_reservations == 2);
  return NULL;
}

static const char *handles_that_gave_their_result(fixture_t *f) {
  void *untouched = f;
  tollgate_decision_t *decision = untouched, *none = untouched;
  bool has_posted = true;
  uint64_t posted = 77;
  size_t consumed = 77;
  tollgate_str_t bytes, key;

  /* A decision is given once, and not before it is there. */
  REQUIRE(tollgate_operation_decision(f->asking, &none) == TOLLGATE_NOT_READY);
  REQUIRE(tollgate_operation_finished(f->asking, &has_posted, &posted) == TOLLGATE_NOT_READY);
  REQUIRE(tollgate_operation_finished(f->decided, &has_posted, &posted) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(tollgate_operation_decision(f->decided, &decision) == TOLLGATE_OK);
  REQUIRE(tollgate_operation_decision(f->decided, &none) == TOLLGATE_FINISHED);
  REQUIRE(tollgate_operation_perform(f->decided, f->store) == TOLLGATE_FINISHED);
  REQUIRE(tollgate_operation_fail(f->decided, "late", 4) == TOLLGATE_FINISHED);
  REQUIRE(tollgate_operation_redis_start(f->decided, f->redis, NULL) == TOLLGATE_FINISHED);
  REQUIRE(tollgate_operation_command(f->decided) == TOLLGATE_COMMAND_NONE && !tollgate_operation_wants_body(f->decided));
  REQUIRE(tollgate_decision_verdict(decision) == TOLLGATE_ALLOW);
  tollgate_decision_free(decision);

  /* So is an end. */
  REQUIRE(tollgate_operation_decision(f->settled, &none) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(none == untouched && has_posted && posted == 77);
  REQUIRE(tollgate_operation_finished(f->settled, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  posted = 77;
  REQUIRE(tollgate_operation_finished(f->settled, &has_posted, &posted) == TOLLGATE_FINISHED && posted == 77);

  /* Calls under way: nothing else meanwhile, each reply once, and none after the end. */
  REQUIRE(tollgate_operation_redis_calls(f->asking) == 0);
  REQUIRE(tollgate_operation_redis_resume(f->asking) == TOLLGATE_FINISHED);
  size_t calls = tollgate_operation_redis_calls(f->carried);
  REQUIRE(calls > 0);
  REQUIRE(tollgate_operation_perform(f->carried, f->store) == TOLLGATE_NOT_READY);
  REQUIRE(tollgate_operation_fail(f->carried, "no", 2) == TOLLGATE_NOT_READY);
  REQUIRE(tollgate_operation_redis_start(f->carried, f->redis, NULL) == TOLLGATE_NOT_READY);
  REQUIRE(tollgate_operation_redis_call(f->carried, calls, &bytes, &key) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(tollgate_operation_redis_call(f->carried, SIZE_MAX, &bytes, &key) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(tollgate_operation_redis_reply(f->carried, calls, (const uint8_t *)":1\r\n", 4, &consumed) == TOLLGATE_INVALID_ARGUMENT);
  REQUIRE(consumed == 77);
  REQUIRE(tollgate_operation_redis_reply(f->carried, 0, (const uint8_t *)"$-1", 3, &consumed) == TOLLGATE_NOT_READY && consumed == 3);
  REQUIRE(tollgate_operation_redis_reply(f->carried, 0, NULL, 0, &consumed) == TOLLGATE_NOT_READY && consumed == 0);
  REQUIRE(tollgate_operation_redis_reply(f->carried, 0, (const uint8_t *)"\r\n+OK\r\n", 7, &consumed) == TOLLGATE_OK && consumed == 2);
  REQUIRE(tollgate_operation_redis_reply(f->carried, 0, (const uint8_t *)"+OK\r\n", 5, &consumed) == TOLLGATE_FINISHED && consumed == 2);
  /* Replies that make no sense, again and again: it ends, and says that the store is unavailable. */
  REQUIRE(tollgate_operation_redis_start(f->asking, f->redis, NULL) == TOLLGATE_OK);
  for (int round = 0; round < 1000 && tollgate_operation_redis_calls(f->asking) > 0; round++) {
    for (size_t i = 0; i < tollgate_operation_redis_calls(f->asking); i++)
      REQUIRE(tollgate_operation_redis_reply(f->asking, i, (const uint8_t *)"HTTP/1.1 400\r\n", 14, &consumed) ==
              TOLLGATE_INVALID_ARGUMENT);
    REQUIRE(tollgate_operation_redis_resume(f->asking) == TOLLGATE_OK);
  }
  REQUIRE(tollgate_operation_decision(f->asking, &decision) == TOLLGATE_OK);
  REQUIRE(tollgate_decision_status(decision) == TOLLGATE_STATUS_STORE_UNAVAILABLE);
  tollgate_decision_free(decision);

  /* An end may be told again, and not otherwise. */
  tollgate_finish_t otherwise = {.struct_size = sizeof otherwise, .outcome = TOLLGATE_VOID};
  REQUIRE(tollgate_finish(f->allowed, f->store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  REQUIRE(tollgate_finish(f->allowed, f->store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  REQUIRE(tollgate_finish(f->allowed, f->store, &otherwise, NOW_MS, &has_posted, &posted) == TOLLGATE_ALREADY_FINISHED);
  /* What there is nothing to finish of. */
  REQUIRE(tollgate_finish(f->denied, f->store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK);
  REQUIRE(!has_posted && posted == 0);
  /* A time that no store takes. */
  REQUIRE(tollgate_store_expire(f->store, UINT64_MAX, &posted) == TOLLGATE_CLOCK_OUT_OF_RANGE);
  return NULL;
}

/* A store that fails: the decision says so, for the operator. */
static const char *a_command_that_fails(fixture_t *f) {
  tollgate_decision_t *decision;
  char buffer[64];
  size_t len;
  REQUIRE(tollgate_operation_fail(f->asking, "out to lunch", 12) == TOLLGATE_OK);
  REQUIRE(tollgate_operation_decision(f->asking, &decision) == TOLLGATE_OK);
  REQUIRE(tollgate_decision_http_status(decision) == 503);
  REQUIRE(tollgate_decision_store_error(decision, buffer, sizeof buffer, &len) == TOLLGATE_OK && len > 12);
  REQUIRE(memmem(buffer, len, "out to lunch", 12) != NULL);
  tollgate_decision_free(decision);
  return NULL;
}

typedef tollgate_result_t (*writes_fn)(const fixture_t *f, char *buffer, size_t capacity, size_t *len);
static tollgate_result_t account(const fixture_t *f, char *buffer, size_t capacity, size_t *len) {
  return tollgate_decision_account(f->denied, buffer, capacity, len);
}
static tollgate_result_t body(const fixture_t *f, char *buffer, size_t capacity, size_t *len) {
  return tollgate_decision_body(f->denied, buffer, capacity, len);
}
static tollgate_result_t token(const fixture_t *f, char *buffer, size_t capacity, size_t *len) {
  (void)f;
  return tollgate_token_generate(NULL, buffer, capacity, len);
}

static const char *buffers_one_byte_too_small(fixture_t *f) {
  const writes_fn writes[] = {account, body, token};
  for (size_t i = 0; i < 3; i++) {
    char buffer[512];
    size_t needed = 77, len = 77;
    REQUIRE(writes[i](f, NULL, 0, &needed) == TOLLGATE_BUFFER_TOO_SMALL && needed > 3 && needed < sizeof buffer);
    memset(buffer, '#', sizeof buffer);
    REQUIRE(writes[i](f, buffer, needed - 1, &len) == TOLLGATE_BUFFER_TOO_SMALL && len == needed);
    for (size_t at = 0; at < sizeof buffer; at++) REQUIRE(buffer[at] == '#');
    REQUIRE(writes[i](f, buffer, needed, &len) == TOLLGATE_OK && len == needed);
    for (size_t at = needed; at < sizeof buffer; at++) REQUIRE(buffer[at] == '#');
    REQUIRE(memchr(buffer, '#', needed) == NULL);
  }
  /* Nothing needs no room. */
  size_t none = 77;
  REQUIRE(tollgate_decision_store_error(f->denied, NULL, 0, &none) == TOLLGATE_OK && none == 0);

  tollgate_header_t headers[32];
  char buffer[2048];
  size_t count = 0, used = 0, all, bytes;
  REQUIRE(tollgate_decision_headers(f->denied, NULL, 0, &all, NULL, 0, &bytes) == TOLLGATE_BUFFER_TOO_SMALL);
  REQUIRE(all > 4 && all < 32 && bytes > 100 && bytes < sizeof buffer);
  const size_t rooms[][2] = {{all - 1, bytes}, {all, bytes - 1}, {0, bytes}, {all, 0}};
  for (size_t i = 0; i < 4; i++) {
    memset(buffer, '#', sizeof buffer);
    memset(headers, '#', sizeof headers);
    REQUIRE(tollgate_decision_headers(f->denied, headers, rooms[i][0], &count, buffer, rooms[i][1], &used) ==
            TOLLGATE_BUFFER_TOO_SMALL);
    REQUIRE(count == all && used == bytes);
    const char *after = (const char *)&headers[rooms[i][0]];
    if (i == 0) REQUIRE(after[0] == '#' && after[sizeof headers[0] - 1] == '#');
    REQUIRE(buffer[rooms[i][1]] == '#');
  }
  REQUIRE(tollgate_decision_headers(f->denied, headers, all, &count, buffer, bytes, &used) == TOLLGATE_OK);
  REQUIRE(count == all && used == bytes && buffer[bytes] == '#');
  size_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    REQUIRE(headers[i].name >= buffer && headers[i].name + headers[i].name_len <= buffer + bytes);
    REQUIRE(headers[i].value >= buffer && headers[i].value + headers[i].value_len <= buffer + bytes);
    sum += headers[i].name_len + headers[i].value_len;
  }
  REQUIRE(sum == bytes);
  return NULL;
}

static bool has_called_back(void *user, const char *name, size_t len) {
  const fixture_t *f = user;
  tollgate_wallet_t wallet;
  return tollgate_account_wallet(f->store, name, len, NOW_MS, &wallet) != TOLLGATE_OK; /* false: stops the list */
}
static bool counted(void *user, const char *name, size_t len) {
  (void)name, (void)len;
  ++*(int *)user;
  return *(int *)user < 2;
}

/* What was made of handles works on without them, and lists stop when they are told. */
static const char *handles_that_are_freed_early(fixture_t *f) {
  tollgate_decision_t *decision;
  bool has_posted;
  uint64_t posted;
  char buffer[255];
  size_t len;
  tollgate_store_t *composite;
  int count = 0;
  REQUIRE(tollgate_account_list(f->store, NULL, 0, 10, NOW_MS, has_called_back, f) == TOLLGATE_OK);
  REQUIRE(tollgate_account_put(f->store, "b", 1, 0, NULL, NOW_MS) == TOLLGATE_OK);
  REQUIRE(tollgate_account_put(f->store, "c", 1, 0, NULL, NOW_MS) == TOLLGATE_OK);
  REQUIRE(tollgate_account_list(f->store, NULL, 0, 10, NOW_MS, counted, &count) == TOLLGATE_OK && count == 2);

  REQUIRE(tollgate_store_composite_new(f->limits, f->store, &composite) == TOLLGATE_OK);
  tollgate_limits_free(f->limits);
  f->limits = NULL;
  tollgate_engine_free(f->engine);
  f->engine = NULL;
  tollgate_policy_free(f->policy);
  f->policy = NULL;
  tollgate_redis_free(f->redis);
  f->redis = NULL;
  while (tollgate_operation_command(f->asking) != TOLLGATE_COMMAND_NONE)
    REQUIRE(tollgate_operation_perform(f->asking, composite) == TOLLGATE_OK);
  tollgate_store_free(composite);
  REQUIRE(tollgate_operation_decision(f->asking, &decision) == TOLLGATE_OK);
  tollgate_operation_free(f->asking);
  f->asking = NULL;
  REQUIRE(tollgate_decision_account(decision, buffer, sizeof buffer, &len) == TOLLGATE_OK && len == 4);
  REQUIRE(tollgate_finish(decision, f->store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  tollgate_decision_free(decision);
  REQUIRE(tollgate_operation_redis_calls(f->carried) > 0);
  REQUIRE(tollgate_operation_redis_resume(f->carried) == TOLLGATE_OK);
  tollgate_store_free(f->store);
  f->store = NULL;
  REQUIRE(tollgate_decision_account(f->denied, buffer, sizeof buffer, &len) == TOLLGATE_OK && len == 4);
  REQUIRE(tollgate_explanation_decision(f->explanation, &decision) == TOLLGATE_OK);
  tollgate_explanation_free(f->explanation);
  f->explanation = NULL;
  REQUIRE(tollgate_decision_account(decision, buffer, sizeof buffer, &len) == TOLLGATE_OK && len == 4);
  tollgate_decision_free(decision);
  return NULL;
}

struct heard {
  int count;
  char last[256];
};
static void hear(void *user, tollgate_log_level_t level, const char *message, size_t len) {
  struct heard *heard = user;
  heard->count++;
  if (len < sizeof heard->last && level == TOLLGATE_LOG_WARN) {
    memcpy(heard->last, message, len);
    heard->last[len] = '\0';
  }
}

/* Texts of errors, and messages for the operator. */
static const char *texts_and_messages(fixture_t *f) {
  struct heard heard = {0, ""};
  tollgate_policy_t *policy;
  uint64_t amount;
  REQUIRE(tollgate_account_deposit(f->store, "nobody", 6, 1, NOW_MS) == TOLLGATE_UNKNOWN_ACCOUNT);
  REQUIRE(strstr(tollgate_last_error(), "no such account") != NULL);
  REQUIRE(tollgate_decision_reserved(f->allowed, &amount) && amount == 5);
  REQUIRE(strstr(tollgate_last_error(), "no such account") != NULL); /* success leaves it alone */
  static const char wrong[] = "[tokens]\nformat = \"none\"\n[nonsense]\n";
  REQUIRE(tollgate_policy_new(wrong, strlen(wrong), TOLLGATE_POLICY_TOML, &policy) == TOLLGATE_POLICY_INVALID);
  REQUIRE(strstr(tollgate_last_error(), "line") != NULL);

  REQUIRE(tollgate_set_log(hear, &heard) == TOLLGATE_OK);
  const char *wrong_here = a_command_that_fails(f);
  REQUIRE(tollgate_set_log(NULL, NULL) == TOLLGATE_OK);
  if (wrong_here != NULL) return wrong_here;
  REQUIRE(heard.count == 1 && strstr(heard.last, "out to lunch") != NULL);
  REQUIRE(tollgate_engine_reload(f->engine, f->policy) == TOLLGATE_OK);
  REQUIRE(heard.count == 1);
  return NULL;
}

static const struct {
  const char *name;
  const char *(*run)(fixture_t *f);
} misuses[] = {
    {"unknown numbers", unknown_numbers},
    {"handles that gave their result", handles_that_gave_their_result},
    {"a command that fails", a_command_that_fails},
    {"buffers one byte too small", buffers_one_byte_too_small},
    {"handles that are freed early", handles_that_are_freed_early},
    {"texts and messages", texts_and_messages},
};

const char *hostile_misuse(size_t index) {
  return index < sizeof misuses / sizeof misuses[0] ? misuses[index].name : NULL;
}

const char *hostile_misuse_run(size_t index, const char *directory) {
  fixture_t *f = fixture_new(directory);
  const char *wrong = misuses[index].run(f);
  if (wrong == NULL) fixture_free(f);
  return wrong;
}
