/*
 * Sends small UDP packets as fast as one thread can: `forward INTERFACE DESTINATION_MAC FAMILY MILLISECONDS`. Prints how
 * many were sent. They go past queueing disciplines, so that what is measured is who forwards them.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, PAYLOAD = 22 };

static unsigned short sum16(const unsigned char *bytes, int length) {
  unsigned sum = 0;
  for (int at = 0; at < length; at += 2) sum += bytes[at] << 8 | bytes[at + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons(~sum & 0xffff);
}

/* 10.0.0.2 to 20.0.0.1, or fd00:1::2 to 2000::1. The UDP checksum is left 0: nobody on the way looks at it. */
static int packet(unsigned char *bytes, int family) {
  int udp;
  memset(bytes, 0, 128);
  if (family == 4) {
    static const unsigned char head[] = {0x45, 0, 0, 20 + 8 + PAYLOAD, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 20, 0, 0, 1};
    memcpy(bytes, head, sizeof head);
    unsigned short checksum = sum16(bytes, 20);
    memcpy(bytes + 10, &checksum, 2);
    udp = 20;
  } else {
    bytes[0] = 0x60;
    bytes[5] = 8 + PAYLOAD;
    bytes[6] = 17;
    bytes[7] = 64;
    inet_pton(AF_INET6, "fd00:1::2", bytes + 8);
    inet_pton(AF_INET6, "2000::1", bytes + 24);
    udp = 40;
  }
  bytes[udp] = 0x13;
  bytes[udp + 2] = 0x0f;
  bytes[udp + 3] = 0xa0;
  bytes[udp + 5] = 8 + PAYLOAD;
  return udp + 8 + PAYLOAD;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int count, char **words) {
  if (count != 5) return fputs("usage: forward INTERFACE MAC FAMILY MILLISECONDS\n", stderr), 2;
  int family = atoi(words[3]);
  int sock = socket(AF_PACKET, SOCK_DGRAM, 0), on = 1;
  if (sock < 0) return perror("socket"), 1;
  setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6, .sll_ifindex = if_nametoindex(words[1])};
  to.sll_protocol = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
  if (sscanf(words[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &to.sll_addr[0], &to.sll_addr[1], &to.sll_addr[2],
             &to.sll_addr[3], &to.sll_addr[4], &to.sll_addr[5]) != 6)
    return fputs("not a MAC\n", stderr), 2;
  unsigned char bytes[128];
  struct iovec part = {bytes, packet(bytes, family)};
  struct mmsghdr batch[BATCH] = {0};
  for (int at = 0; at < BATCH; at++)
    batch[at].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
  long sent = 0;
  for (double end = milliseconds() + atof(words[4]); milliseconds() < end;) {
    int some = sendmmsg(sock, batch, BATCH, 0);
    if (some < 0) return perror("sendmmsg"), 1;
    sent += some;
  }
  printf("%ld\n", sent);
  return 0;
}
