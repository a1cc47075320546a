/* How requests end, and what operators do. */
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define TRY(call)                                  \
  do {                                             \
    tollgate_result_t tried = (call);              \
    if (tried != TOLLGATE_OK) return tried;        \
  } while (0)

/* Room for the structs of one call. */
typedef struct room {
  tollgate_str_t *first, *second;
  tollgate_spend_cap_t *caps;
  tollgate_header_t *headers;
} room_t;

static void room_free(room_t *room) {
  free(room->first);
  free(room->second);
  free(room->caps);
  free(room->headers);
}

static void *place(size_t count, size_t size) {
  void *place = calloc(count + 1, size);
  if (place == NULL) abort();
  return place;
}

static tollgate_str_t *strs(const driver_texts_t *texts) {
  tollgate_str_t *strs = place(texts->count, sizeof *strs);
  for (size_t i = 0; i < texts->count; i++) {
    strs[i].data = texts->data[i];
    strs[i].len = texts->len[i];
  }
  return strs;
}

static tollgate_spend_cap_t *spend_caps(const driver_caps_t *given) {
  tollgate_spend_cap_t *caps = place(given->count, sizeof *caps);
  for (size_t i = 0; i < given->count; i++) {
    caps[i].per = given->per[i] == 'd'   ? TOLLGATE_PER_DAY
                  : given->per[i] == 'm' ? TOLLGATE_PER_MONTH
                                         : TOLLGATE_PER_LIFETIME;
    caps[i].amount = given->amounts[i];
    caps[i].shadow = given->shadow[i];
  }
  return caps;
}

/* Null for a list leaves the setting as it is. */
tollgate_result_t driver_put_account(const driver_t *driver, const char *account, size_t account_len, uint64_t balance,
                                     const driver_texts_t *networks, const driver_caps_t *caps,
                                     const driver_texts_t *senders, uint64_t now_ms) {
  room_t room = {0};
  tollgate_account_settings_t settings = {.struct_size = sizeof settings};
  if (networks != NULL) {
    settings.networks = room.first = strs(networks);
    settings.networks_len = networks->count;
    settings.set_networks = 1;
  }
  if (caps != NULL) {
    settings.spend_caps = room.caps = spend_caps(caps);
    settings.spend_caps_len = caps->count;
    settings.set_spend_caps = 1;
  }
  if (senders != NULL) {
    settings.senders = room.second = strs(senders);
    settings.senders_len = senders->count;
    settings.set_senders = 1;
  }
  tollgate_result_t result = tollgate_account_put(driver->store, account, account_len, balance, &settings, now_ms);
  room_free(&room);
  return result;
}

/* `set_quota` and `set_expires`: 's' sets, 'c' clears, 0 leaves it. */
tollgate_result_t driver_put_token(const driver_t *driver, const char *token, size_t token_len, const char *account,
                                   size_t account_len, const driver_texts_t *scopes, const driver_texts_t *networks,
                                   const driver_caps_t *caps, uint32_t set_quota, uint64_t quota_limit,
                                   uint64_t quota_window_ms, uint32_t set_expires, uint64_t expires_ms, uint64_t now_ms) {
  uint8_t digest[32];
  room_t room = {0};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings};
  TRY(tollgate_engine_digest(driver->engine, token, token_len, digest));
  settings.scopes = room.first = strs(scopes);
  settings.scopes_len = scopes->count;
  settings.set_scopes = 1;
  if (networks != NULL) {
    settings.networks = room.second = strs(networks);
    settings.networks_len = networks->count;
    settings.set_networks = 1;
  }
  if (caps != NULL) {
    settings.spend_caps = room.caps = spend_caps(caps);
    settings.spend_caps_len = caps->count;
    settings.set_spend_caps = 1;
  }
  settings.set_quota = set_quota == 's' ? 1 : set_quota == 'c' ? TOLLGATE_CLEAR : 0;
  settings.quota_limit = quota_limit;
  settings.quota_window_ms = quota_window_ms;
  settings.set_expires = set_expires == 's' ? 1 : set_expires == 'c' ? TOLLGATE_CLEAR : 0;
  settings.expires_ms = expires_ms;
  tollgate_result_t result = tollgate_token_put(driver->store, digest, account, account_len, &settings, now_ms);
  room_free(&room);
  return result;
}

tollgate_result_t driver_rotate(const driver_t *driver, const char *old_token, size_t old_token_len,
                                const char *new_token, size_t new_token_len, uint64_t grace_ms, uint64_t now_ms) {
  uint8_t old_digest[32], new_digest[32];
  TRY(tollgate_engine_digest(driver->engine, old_token, old_token_len, old_digest));
  TRY(tollgate_engine_digest(driver->engine, new_token, new_token_len, new_digest));
  return tollgate_token_rotate(driver->store, old_digest, new_digest, grace_ms, now_ms);
}

tollgate_result_t driver_revoke(const driver_t *driver, const char *token, size_t token_len, uint64_t now_ms) {
  uint8_t digest[32];
  TRY(tollgate_engine_digest(driver->engine, token, token_len, digest));
  return tollgate_token_revoke(driver->store, digest, now_ms);
}

tollgate_result_t driver_deposit(const driver_t *driver, const char *account, size_t account_len, uint64_t amount,
                                 uint64_t now_ms) {
  return tollgate_account_deposit(driver->store, account, account_len, amount, now_ms);
}

/* balance, held, available, posted, open reservations */
tollgate_result_t driver_inspect(const driver_t *driver, const char *account, size_t account_len, uint64_t now_ms,
                                 uint64_t money[5]) {
  tollgate_wallet_t wallet;
  TRY(tollgate_account_wallet(driver->store, account, account_len, now_ms, &wallet));
  money[0] = wallet.balance;
  money[1] = wallet.held;
  money[2] = wallet.available;
  money[3] = wallet.posted;
  money[4] = wallet.open_reservations;
  return TOLLGATE_OK;
}

tollgate_result_t driver_expire(const driver_t *driver, uint64_t now_ms, uint64_t *expired) {
  return tollgate_store_expire(driver->store, now_ms, expired);
}

/* A response to be kept; null: none. */
typedef struct driver_response {
  uint32_t status;
  const driver_texts_t *names, *values;
  const uint8_t *body; /* null: omitted */
  size_t body_len;
} driver_response_t;

typedef tollgate_result_t (*ending_fn)(const void *how, const tollgate_finish_t *finish, bool *has_posted,
                                       uint64_t *posted);

/* Fills the structs that say how a request ended, and hands them on. `outcome`: 's', 'v' or 'u'. */
static tollgate_result_t end(uint32_t outcome, const uint64_t *amount, const driver_response_t *given, ending_fn ending,
                             const void *how, bool *has_posted, uint64_t *posted) {
  room_t room = {0};
  tollgate_response_t response = {.struct_size = sizeof response};
  tollgate_finish_t finish = {.struct_size = sizeof finish};
  finish.outcome = outcome == 's' ? TOLLGATE_SETTLE : outcome == 'v' ? TOLLGATE_VOID : TOLLGATE_UNKNOWN;
  finish.has_amount = amount != NULL;
  finish.amount = amount != NULL ? *amount : 0;
  if (given != NULL) {
    room.headers = place(given->names->count, sizeof *room.headers);
    for (size_t i = 0; i < given->names->count; i++) {
      room.headers[i].name = given->names->data[i];
      room.headers[i].name_len = given->names->len[i];
      room.headers[i].value = given->values->data[i];
      room.headers[i].value_len = given->values->len[i];
    }
    response.status = given->status;
    response.headers = room.headers;
    response.headers_len = given->names->count;
    response.body = given->body;
    response.body_len = given->body_len;
    response.body_omitted = given->body == NULL;
    finish.response = &response;
  }
  tollgate_result_t result = ending(how, &finish, has_posted, posted);
  room_free(&room);
  return result;
}

struct finished {
  const driver_t *driver;
  const tollgate_decision_t *decision;
  uint64_t now_ms;
};

static tollgate_result_t finish_in_steps(const struct finished *how, const tollgate_finish_t *finish, bool *has_posted,
                                         uint64_t *posted) {
  const driver_t *driver = how->driver;
  tollgate_operation_t *operation;
  tollgate_result_t result = TOLLGATE_OK;
  TRY(tollgate_operation_finish(how->decision, finish, how->now_ms, &operation));
  while (result == TOLLGATE_OK && tollgate_operation_command(operation) == TOLLGATE_COMMAND_SETTLE) {
    result = driver->redis != NULL ? perform_over_redis(driver->connections, driver->redis, operation)
                                   : tollgate_operation_perform(operation, driver->store);
  }
  if (result == TOLLGATE_OK) result = tollgate_operation_finished(operation, has_posted, posted);
  tollgate_operation_free(operation);
  return result;
}

static tollgate_result_t finish_now(const void *user, const tollgate_finish_t *finish, bool *has_posted,
                                    uint64_t *posted) {
  const struct finished *how = user;
  if (how->driver->steps) return finish_in_steps(how, finish, has_posted, posted);
  return tollgate_finish(how->decision, how->driver->store, finish, how->now_ms, has_posted, posted);
}

tollgate_result_t driver_finish(const driver_t *driver, const tollgate_decision_t *decision, uint32_t outcome,
                                const uint64_t *amount, const driver_response_t *response, uint64_t now_ms,
                                bool *has_posted, uint64_t *posted) {
  struct finished how = {driver, decision, now_ms};
  return end(outcome, amount, response, finish_now, &how, has_posted, posted);
}

struct resolved {
  const driver_t *driver;
  const char *account;
  size_t account_len;
  uint64_t number, now_ms;
};

static tollgate_result_t resolve_now(const void *user, const tollgate_finish_t *finish, bool *has_posted,
                                     uint64_t *posted) {
  const struct resolved *how = user;
  return tollgate_reservation_resolve(how->driver->store, how->account, how->account_len, how->number, finish,
                                      how->now_ms, has_posted, posted);
}

tollgate_result_t driver_resolve(const driver_t *driver, const char *account, size_t account_len, uint64_t number,
                                 uint32_t outcome, const uint64_t *amount, const driver_response_t *response,
                                 uint64_t now_ms, bool *has_posted, uint64_t *posted) {
  struct resolved how = {driver, account, account_len, number, now_ms};
  return end(outcome, amount, response, resolve_now, &how, has_posted, posted);
}

tollgate_result_t driver_refund(const driver_t *driver, const char *account, size_t account_len, uint64_t number,
                                uint64_t amount, const char *reference, size_t reference_len, uint64_t now_ms) {
  return tollgate_reservation_refund(driver->store, account, account_len, number, amount, reference, reference_len,
                                     now_ms);
}
