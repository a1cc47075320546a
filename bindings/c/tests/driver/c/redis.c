/* Bytes between an operation and a Redis server, over sockets that are the host's own. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "driver.h"

#define IDLE 64

/* Connections that nobody uses now. */
struct connections {
  pthread_mutex_t mutex;
  uint16_t port;
  int idle[IDLE];
  size_t count;
};

struct connections *connections_new(uint16_t port) {
  struct connections *connections = calloc(1, sizeof *connections);
  if (connections == NULL) return NULL;
  pthread_mutex_init(&connections->mutex, NULL);
  connections->port = port;
  return connections;
}

void connections_free(struct connections *connections) {
  if (connections == NULL) return;
  for (size_t i = 0; i < connections->count; i++) close(connections->idle[i]);
  pthread_mutex_destroy(&connections->mutex);
  free(connections);
}

static int connected(uint16_t port) {
  struct sockaddr_in address;
  struct timeval patience = {.tv_sec = 10, .tv_usec = 0};
  int on = 1;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

static int taken(struct connections *connections) {
  int fd = -1;
  pthread_mutex_lock(&connections->mutex);
  if (connections->count > 0) fd = connections->idle[--connections->count];
  pthread_mutex_unlock(&connections->mutex);
  return fd >= 0 ? fd : connected(connections->port);
}

static void given_back(struct connections *connections, int fd) {
  pthread_mutex_lock(&connections->mutex);
  bool kept = connections->count < IDLE;
  if (kept) connections->idle[connections->count++] = fd;
  pthread_mutex_unlock(&connections->mutex);
  if (!kept) close(fd);
}

static bool sent(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t wrote = send(fd, data, len, MSG_NOSIGNAL);
    if (wrote <= 0) return false;
    data += wrote;
    len -= (size_t)wrote;
  }
  return true;
}

/* Sends the calls of a round as one pipeline, and gives their replies to the operation, in pieces as they come. */
static bool round_trip(int fd, tollgate_operation_t *operation) {
  size_t calls = tollgate_operation_redis_calls(operation);
  for (size_t i = 0; i < calls; i++) {
    tollgate_str_t bytes, key;
    if (tollgate_operation_redis_call(operation, i, &bytes, &key) != TOLLGATE_OK) return false;
    if (key.len == 0 || !sent(fd, bytes.data, bytes.len)) return false;
  }
  /* Small, so that replies come in several pieces, and pieces with several replies. */
  unsigned char buffer[97];
  size_t start = 0, end = 0;
  for (size_t i = 0; i < calls; i++) {
    for (;;) {
      if (start == end) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got <= 0) return false;
        start = 0;
        end = (size_t)got;
      }
      size_t consumed = 0;
      tollgate_result_t result =
          tollgate_operation_redis_reply(operation, i, buffer + start, end - start, &consumed);
      start += consumed;
      if (result == TOLLGATE_OK) break;
      if (result != TOLLGATE_NOT_READY || start != end) return false;
    }
  }
  return start == end;
}

tollgate_result_t perform_over_redis(struct connections *connections, const tollgate_redis_t *redis,
                                     tollgate_operation_t *operation) {
  tollgate_result_t result = tollgate_operation_redis_start(operation, redis, NULL);
  while (result == TOLLGATE_OK && tollgate_operation_redis_calls(operation) > 0) {
    int fd = taken(connections);
    if (fd >= 0) {
      if (round_trip(fd, operation)) given_back(connections, fd);
      else close(fd); /* what did not come counts as lost */
    }
    result = tollgate_operation_redis_resume(operation);
  }
  return result;
}
