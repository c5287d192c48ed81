/*
 * TCP from one side to the other: `stream receive PORT` throws away whatever comes, until it is ended; `stream send ADDRESS
 * PORT MILLISECONDS CONNECTIONS` writes as much as goes. One thread each.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 64
#define CHUNK_BYTES (256 * 1024)

static struct pollfd waits[MOST_CONNECTIONS + 1];

static void Fail(const char *attempted) {
  fprintf(stderr, "stream: %s: %s\n", attempted, strerror(errno));
  exit(1);
}

static uint64_t Milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

/* In the order of their coming, behind the listener. */
static int opened;

static void Close(int n) {
  close(waits[n].fd);
  memmove(waits + n, waits + n + 1, (opened-- - n) * sizeof *waits);
}

static void Receive(int port) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, MOST_CONNECTIONS) < 0) Fail("listen");
  puts("listening");
  fflush(stdout);
  waits[0] = (struct pollfd){listener, POLLIN, 0};
  for (;;) {
    if (poll(waits, opened + 1, -1) < 0) Fail("poll");
    for (int n = opened; n > 0; n--) {
      if (waits[n].revents == 0) continue;
      /* With MSG_TRUNC TCP throws away and copies nothing (tcp(7)). */
      ssize_t bytes = recv(waits[n].fd, NULL, CHUNK_BYTES, MSG_TRUNC | MSG_DONTWAIT);
      if (bytes > 0 || (bytes < 0 && errno == EAGAIN)) continue;
      Close(n);
    }
    if (waits[0].revents != 0) {
      int accepted = accept(listener, NULL, NULL);
      if (accepted < 0) continue;
      /* A queue that was full has dropped the reset that would have ended it. */
      if (opened == MOST_CONNECTIONS) Close(1);
      waits[++opened] = (struct pollfd){accepted, POLLIN, 0};
    }
  }
}

static void Send(const char *address, int port, uint64_t duration, int connections) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) Fail("read the address");
  static char chunk[CHUNK_BYTES];
  struct timeval bound = {.tv_sec = 5};
  for (int n = 0; n < connections; n++) {
    waits[n] = (struct pollfd){socket(AF_INET, SOCK_STREAM, 0), POLLOUT, 0};
    setsockopt(waits[n].fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
    if (connect(waits[n].fd, (struct sockaddr *)&to, sizeof to) < 0) Fail("connect");
  }
  for (uint64_t until = Milliseconds() + duration; Milliseconds() < until;) {
    if (poll(waits, connections, 100) < 0) Fail("poll");
    for (int n = 0; n < connections; n++)
      if (waits[n].revents != 0 && send(waits[n].fd, chunk, sizeof chunk, MSG_DONTWAIT) < 0 && errno != EAGAIN) Fail("send");
  }
  /* Closed by a reset: what is still on its way is nobody's figure. */
  struct linger now = {1, 0};
  for (int n = 0; n < connections; n++) setsockopt(waits[n].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  if (count == 3 && strcmp(words[1], "receive") == 0) Receive(atoi(words[2]));
  int connections = count == 6 && strcmp(words[1], "send") == 0 ? atoi(words[5]) : 0;
  if (connections < 1 || connections > MOST_CONNECTIONS) {
    fprintf(stderr, "stream receive PORT, or stream send ADDRESS PORT MILLISECONDS CONNECTIONS (1 to %d)\n", MOST_CONNECTIONS);
    return 2;
  }
  Send(words[2], atoi(words[3]), strtoull(words[4], NULL, 10), connections);
  return 0;
}
