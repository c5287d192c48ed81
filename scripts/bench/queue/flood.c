/*
 * UDP as fast as one thread can, or at a rate: `flood INTERFACE MAC SOURCE DESTINATION PORT MILLISECONDS RATE`; MAC is the
 * next hop's, RATE in packets a second, 0 for all that goes. Each packet has 64 bytes of payload and the next of many source
 * ports. Frames are written to the interface itself, past the sender's own IP stack, which would be the narrowest place.
 * Prints how many were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PORTS 4096
#define FIRST_PORT 10000
#define BATCH 64

struct Frame {
  struct ether_header ethernet;
  struct iphdr ip;
  struct udphdr udp;
  uint8_t payload[64];
} __attribute__((packed));

static struct Frame frames[PORTS];
static struct iovec vectors[PORTS];
static struct mmsghdr messages[PORTS];

static void Fail(const char *attempted) {
  fprintf(stderr, "flood: %s: %s\n", attempted, strerror(errno));
  exit(1);
}

static uint64_t Nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint16_t Checksum(struct iphdr ip) {
  uint32_t sum = 0;
  uint16_t words[sizeof ip / 2];
  memcpy(words, &ip, sizeof words);
  for (size_t n = 0; n < sizeof words / sizeof *words; n++) sum += words[n];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void Prepare(char **words) {
  struct Frame blank = {0};
  uint8_t *mac = blank.ethernet.ether_dhost;
  struct in_addr source, destination;
  if (sscanf(words[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6 ||
      inet_pton(AF_INET, words[3], &source) != 1 || inet_pton(AF_INET, words[4], &destination) != 1)
    Fail("read the addresses");
  blank.ethernet.ether_type = htons(ETHERTYPE_IP);
  blank.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
  blank.ip.tot_len = htons(sizeof blank - sizeof blank.ethernet);
  blank.ip.saddr = source.s_addr;
  blank.ip.daddr = destination.s_addr;
  blank.ip.check = Checksum(blank.ip);
  blank.udp.dest = htons(atoi(words[5]));
  /* A checksum of 0 says that there is none. */
  blank.udp.len = htons(sizeof blank.udp + sizeof blank.payload);
  for (int n = 0; n < PORTS; n++) {
    frames[n] = blank;
    frames[n].udp.source = htons(FIRST_PORT + n);
    vectors[n] = (struct iovec){&frames[n], sizeof frames[n]};
    messages[n].msg_hdr.msg_iov = &vectors[n];
    messages[n].msg_hdr.msg_iovlen = 1;
  }
}

static int Open(const char *interface) {
  int packets = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(interface)};
  if (packets < 0 || at.sll_ifindex == 0 || bind(packets, (struct sockaddr *)&at, sizeof at) < 0) Fail("open the interface");
  if (setsockopt(packets, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0) Fail("pass the queueing discipline by");
  return packets;
}

int main(int count, char **words) {
  if (count != 8) {
    fprintf(stderr, "flood INTERFACE MAC SOURCE DESTINATION PORT MILLISECONDS RATE\n");
    return 2;
  }
  Prepare(words);
  int packets = Open(words[1]);
  uint64_t duration = strtoull(words[6], NULL, 10) * 1000000, rate = strtoull(words[7], NULL, 10);
  uint64_t sent = 0, from = Nanoseconds(), now;
  while ((now = Nanoseconds()) - from < duration) {
    unsigned batch = BATCH;
    if (rate > 0) {
      uint64_t due = (now - from) * rate / 1000000000;
      if (due <= sent) {
        struct timespec pause = {0, 20000};
        nanosleep(&pause, NULL);
        continue;
      }
      batch = due - sent < BATCH ? due - sent : BATCH;
    }
    unsigned next = sent % PORTS, left = PORTS - next;
    int done = sendmmsg(packets, messages + next, batch < left ? batch : left, 0);
    /* The other side's backlog is full. */
    if (done < 0 && errno != ENOBUFS) Fail("send");
    if (done > 0) sent += done;
  }
  printf("{\"sent\":%llu}\n", (unsigned long long)sent);
  return 0;
}
