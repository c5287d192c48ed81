/*
 * Round trips at a rate: `roundtrip ADDRESS PORT MILLISECONDS RATE`. RATE packets a second leave evenly, of which PROBES a
 * second are echo requests and the others UDP to PORT; the other side's kernel answers the echo requests. The thread never
 * sleeps, so no wake-up of its own is in the figures. Prints how many requests were sent, and what each answer took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROBES 1000
/* Who has not answered by then does not. */
#define PATIENCE_NS 200000000ull

struct Echo {
  struct icmphdr header;
  uint64_t sentAt;
};

static void Fail(const char *attempted) {
  fprintf(stderr, "roundtrip: %s: %s\n", attempted, strerror(errno));
  exit(1);
}

static uint64_t Nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint16_t Checksum(const void *bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t n = 0; n < length / 2; n++) sum += ((const uint16_t *)bytes)[n];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

int main(int count, char **words) {
  if (count != 5) {
    fprintf(stderr, "roundtrip ADDRESS PORT MILLISECONDS RATE\n");
    return 2;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
  if (inet_pton(AF_INET, words[1], &to.sin_addr) != 1) Fail("read the address");
  uint64_t duration = strtoull(words[3], NULL, 10) * 1000000, rate = strtoull(words[4], NULL, 10);
  if (rate < PROBES) rate = PROBES;
  int datagrams = socket(AF_INET, SOCK_DGRAM, 0), echoes = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (datagrams < 0 || echoes < 0 || connect(datagrams, (struct sockaddr *)&to, sizeof to) < 0) Fail("open sockets");
  to.sin_port = 0;
  if (connect(echoes, (struct sockaddr *)&to, sizeof to) < 0) Fail("connect");
  size_t room = duration / 1000000 * PROBES / 1000 + PROBES;
  uint64_t *times = malloc(room * sizeof *times);
  if (times == NULL) Fail("allocate");
  uint16_t id = getpid();
  static char payload[64];
  uint64_t from = Nanoseconds(), packets = 0, requests = 0, answered = 0;
  for (;;) {
    uint64_t now = Nanoseconds(), gone = now - from;
    if (gone >= duration && (requests == answered || gone >= duration + PATIENCE_NS)) break;
    if (gone < duration && gone * rate / 1000000000 > packets) {
      packets++;
      if (gone * PROBES / 1000000000 > requests) {
        struct Echo echo = {.header = {.type = ICMP_ECHO}};
        echo.header.un.echo.id = id;
        echo.header.un.echo.sequence = htons(requests);
        echo.sentAt = Nanoseconds();
        echo.header.checksum = Checksum(&echo, sizeof echo);
        if (send(echoes, &echo, sizeof echo, 0) < 0) Fail("send an echo request");
        requests++;
      } else if (send(datagrams, payload, sizeof payload, 0) < 0 && errno != ECONNREFUSED) {
        Fail("send a datagram");
      }
    }
    struct {
      struct iphdr ip;
      struct Echo echo;
    } __attribute__((packed)) reply;
    ssize_t bytes = recv(echoes, &reply, sizeof reply, MSG_DONTWAIT);
    if (bytes < 0 && errno != EAGAIN) Fail("receive");
    if (bytes == sizeof reply && reply.echo.header.type == ICMP_ECHOREPLY && reply.echo.header.un.echo.id == id && answered < room)
      times[answered++] = Nanoseconds() - reply.echo.sentAt;
  }
  printf("{\"requests\":%llu,\"microseconds\":[", (unsigned long long)requests);
  for (uint64_t n = 0; n < answered; n++) printf("%s%.2f", n == 0 ? "" : ",", times[n] / 1000.0);
  puts("]}");
  return 0;
}
