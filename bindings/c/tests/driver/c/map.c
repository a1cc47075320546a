/* An ordered map with transactions, as a host may have one: sorted entries behind a mutex, one transaction at a time, of which each
   begins with a copy. Every few commits it says that another transaction came between. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define CONFLICTS_EVERY 7

struct entry {
  uint8_t *key, *value;
  size_t key_len, value_len;
};

struct entries {
  struct entry *all;
  size_t count, room;
};

struct map {
  pthread_mutex_t mutex;
  struct entries now, before;
  bool writes;
  unsigned commits;
};

static void *copied(const void *data, size_t len) {
  void *copy = malloc(len + 1);
  if (copy == NULL) abort();
  if (len > 0) memcpy(copy, data, len);
  return copy;
}

static void dropped(struct entries *entries) {
  for (size_t i = 0; i < entries->count; i++) {
    free(entries->all[i].key);
    free(entries->all[i].value);
  }
  free(entries->all);
  memset(entries, 0, sizeof *entries);
}

static struct entries copy_of(const struct entries *from) {
  struct entries to = {.count = from->count, .room = from->count + 8};
  to.all = calloc(to.room, sizeof *to.all);
  if (to.all == NULL) abort();
  for (size_t i = 0; i < from->count; i++) {
    to.all[i] = from->all[i];
    to.all[i].key = copied(from->all[i].key, from->all[i].key_len);
    to.all[i].value = copied(from->all[i].value, from->all[i].value_len);
  }
  return to;
}

static int compared(const struct entry *entry, const uint8_t *key, size_t key_len) {
  size_t both = entry->key_len < key_len ? entry->key_len : key_len;
  int order = both > 0 ? memcmp(entry->key, key, both) : 0;
  if (order != 0 || entry->key_len == key_len) return order;
  return entry->key_len < key_len ? -1 : 1;
}

/* The index of the first entry that is not before the key. */
static size_t place(const struct entries *entries, const uint8_t *key, size_t key_len, bool *is_there) {
  size_t low = 0, high = entries->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compared(&entries->all[middle], key, key_len) < 0) low = middle + 1;
    else high = middle;
  }
  *is_there = low < entries->count && compared(&entries->all[low], key, key_len) == 0;
  return low;
}

static tollgate_host_result_t begin(void *user, bool writes, void **transaction) {
  struct map *map = user;
  pthread_mutex_lock(&map->mutex);
  map->writes = writes;
  if (writes) map->before = copy_of(&map->now);
  *transaction = map;
  return TOLLGATE_HOST_OK;
}

static tollgate_host_result_t get(void *transaction, const uint8_t *key, size_t key_len, const uint8_t **value,
                                  size_t *value_len) {
  struct map *map = transaction;
  bool is_there;
  size_t at = place(&map->now, key, key_len, &is_there);
  if (!is_there) return TOLLGATE_HOST_NOT_FOUND;
  *value = map->now.all[at].value;
  *value_len = map->now.all[at].value_len;
  return TOLLGATE_HOST_OK;
}

static tollgate_host_result_t first(void *transaction, const uint8_t *key, size_t key_len, const uint8_t **found,
                                    size_t *found_len, const uint8_t **value, size_t *value_len) {
  struct map *map = transaction;
  bool is_there;
  size_t at = place(&map->now, key, key_len, &is_there);
  if (at == map->now.count) return TOLLGATE_HOST_NOT_FOUND;
  *found = map->now.all[at].key;
  *found_len = map->now.all[at].key_len;
  *value = map->now.all[at].value;
  *value_len = map->now.all[at].value_len;
  return TOLLGATE_HOST_OK;
}

static tollgate_host_result_t put(void *transaction, const uint8_t *key, size_t key_len, const uint8_t *value,
                                  size_t value_len) {
  struct map *map = transaction;
  struct entries *now = &map->now;
  bool is_there;
  if (!map->writes || key_len > 300) return TOLLGATE_HOST_CORRUPT;
  size_t at = place(now, key, key_len, &is_there);
  uint8_t *copy = copied(value, value_len);
  if (is_there) {
    free(now->all[at].value);
  } else {
    if (now->count == now->room) {
      now->room = now->room * 2 + 8;
      now->all = realloc(now->all, now->room * sizeof *now->all);
      if (now->all == NULL) abort();
    }
    memmove(&now->all[at + 1], &now->all[at], (now->count - at) * sizeof *now->all);
    now->count++;
    now->all[at].key = copied(key, key_len);
    now->all[at].key_len = key_len;
  }
  now->all[at].value = copy;
  now->all[at].value_len = value_len;
  return TOLLGATE_HOST_OK;
}

static tollgate_host_result_t remove_key(void *transaction, const uint8_t *key, size_t key_len) {
  struct map *map = transaction;
  struct entries *now = &map->now;
  bool is_there;
  if (!map->writes) return TOLLGATE_HOST_CORRUPT;
  size_t at = place(now, key, key_len, &is_there);
  if (!is_there) return TOLLGATE_HOST_NOT_FOUND;
  free(now->all[at].key);
  free(now->all[at].value);
  now->count--;
  memmove(&now->all[at], &now->all[at + 1], (now->count - at) * sizeof *now->all);
  return TOLLGATE_HOST_OK;
}

static void rollback(void *transaction) {
  struct map *map = transaction;
  if (map->writes) {
    dropped(&map->now);
    map->now = map->before;
    memset(&map->before, 0, sizeof map->before);
  }
  pthread_mutex_unlock(&map->mutex);
}

static tollgate_host_result_t commit(void *transaction) {
  struct map *map = transaction;
  if (map->writes && ++map->commits % CONFLICTS_EVERY == 0) {
    rollback(transaction);
    return TOLLGATE_HOST_CONFLICT;
  }
  dropped(&map->before);
  pthread_mutex_unlock(&map->mutex);
  return TOLLGATE_HOST_OK;
}

static void release(void *user) {
  struct map *map = user;
  dropped(&map->now);
  pthread_mutex_destroy(&map->mutex);
  free(map);
}

tollgate_result_t driver_store_host(driver_t *driver) {
  static const tollgate_host_map_t functions = {.struct_size = sizeof functions,
                                                .begin = begin,
                                                .get = get,
                                                .first = first,
                                                .put = put,
                                                .remove = remove_key,
                                                .commit = commit,
                                                .rollback = rollback,
                                                .release = release};
  struct map *map = calloc(1, sizeof *map);
  if (map == NULL) return TOLLGATE_PANIC;
  pthread_mutex_init(&map->mutex, NULL);
  tollgate_result_t result = tollgate_store_host_open(&functions, map, NULL, &driver->store);
  if (result != TOLLGATE_OK) release(map);
  return result;
}
