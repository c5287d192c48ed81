/*
 * Packets from an NFQUEUE, each accepted with one constant mark: the least that a program in C can do, netlink written by
 * hand. Options choose how it receives and answers, so that each way can be measured against another. It prints a line
 * when it is bound, and on SIGTERM one line of JSON that says what it counted. Usage: see `Options` below; every option
 * takes a value.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST_PACKETS 1024
/* Netlink header, nfgenmsg, and the attributes before the packet. */
#define ATTRIBUTE_BYTES 512

static struct Options {
  uint32_t queue, length, mark;
  /* Packets received before the first is answered. */
  uint32_t batch;
  /* One system call for all of them, or one for each. */
  int recvmmsg;
  enum { EACH, CONCATENATED, BATCH } verdicts;
  /* Microseconds of trying again before it sleeps; 0: it sleeps in the receiving call itself. */
  uint32_t spin;
  int gso;
  uint32_t copy, buffer, busyPoll;
} options = {.queue = 0, .length = 1024, .mark = 1, .batch = 1, .verdicts = EACH, .gso = 1, .copy = 512, .buffer = 1 << 20};

struct Verdict {
  struct nlmsghdr header;
  struct nfgenmsg generic;
  struct nlattr verdictAttribute;
  struct nfqnl_msg_verdict_hdr verdict;
  struct nlattr markAttribute;
  uint32_t mark;
};

static int netlink;
static volatile sig_atomic_t ended;
static uint64_t packets, batches, systemCalls, sleeps;
static struct Verdict verdicts[MOST_PACKETS];
static struct iovec vectors[MOST_PACKETS];
static struct mmsghdr messages[MOST_PACKETS];

static void End(int signal) {
  (void)signal;
  ended = 1;
}

static void Fail(const char *attempted) {
  fprintf(stderr, "queue: %s: %s\n", attempted, strerror(errno));
  exit(1);
}

static void Configure(uint16_t type, const void *value, uint16_t length) {
  struct {
    struct nlmsghdr header;
    struct nfgenmsg generic;
    struct nlattr attribute;
    uint8_t value[8];
  } message = {0};
  message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.generic) + NLA_ALIGN(NLA_HDRLEN + length);
  message.header.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.generic.version = NFNETLINK_V0;
  message.generic.res_id = htons(options.queue);
  message.attribute.nla_len = NLA_HDRLEN + length;
  message.attribute.nla_type = type;
  memcpy(message.value, value, length);
  if (send(netlink, &message, message.header.nlmsg_len, 0) < 0) Fail("configure");
  /* The copy mode is set last: no packet comes before. */
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    uint8_t request[256];
  } answer;
  if (recv(netlink, &answer, sizeof answer, 0) < 0) Fail("configure");
  errno = -answer.error.error;
  if (errno != 0) Fail("configure");
}

static void Open(void) {
  netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (netlink < 0 || bind(netlink, (struct sockaddr *)&address, sizeof address) < 0 ||
      connect(netlink, (struct sockaddr *)&address, sizeof address) < 0)
    Fail("open a netlink socket");
  int on = 1, buffer = options.buffer, busyPoll = options.busyPoll;
  if (setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0) Fail("set the receive buffer");
  if (setsockopt(netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) < 0) Fail("set NETLINK_NO_ENOBUFS");
  if (busyPoll > 0 && setsockopt(netlink, SOL_SOCKET, SO_BUSY_POLL, &busyPoll, sizeof busyPoll) < 0) Fail("set busy poll");
  /* Bounds how late a SIGTERM is seen that comes between the look and the wait. */
  struct timeval bound = {.tv_usec = 100000};
  if (setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound) < 0) Fail("set a time-out");

  struct nfqnl_msg_config_cmd bindQueue = {.command = NFQNL_CFG_CMD_BIND};
  uint32_t length = htonl(options.length);
  Configure(NFQA_CFG_CMD, &bindQueue, sizeof bindQueue);
  Configure(NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
  if (options.gso) {
    /* Flags and mask come together: two attributes in one message. */
    struct {
      struct nlmsghdr header;
      struct nfgenmsg generic;
      struct nlattr maskAttribute;
      uint32_t mask;
      struct nlattr flagsAttribute;
      uint32_t flags;
    } message = {
        {sizeof message, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG, NLM_F_REQUEST, 0, 0},
        {AF_UNSPEC, NFNETLINK_V0, htons(options.queue)},
        {NLA_HDRLEN + 4, NFQA_CFG_MASK},
        htonl(NFQA_CFG_F_GSO),
        {NLA_HDRLEN + 4, NFQA_CFG_FLAGS},
        htonl(NFQA_CFG_F_GSO),
    };
    if (send(netlink, &message, sizeof message, 0) < 0) Fail("ask for unsegmented packets");
  }
  struct nfqnl_msg_config_params mode = {htonl(options.copy), NFQNL_COPY_PACKET};
  Configure(NFQA_CFG_PARAMS, &mode, 5);
}

static void Prepare(void) {
  size_t room = options.copy + ATTRIBUTE_BYTES;
  uint8_t *buffers = calloc(options.batch, room);
  if (buffers == NULL) Fail("allocate buffers");
  for (uint32_t n = 0; n < options.batch; n++) {
    vectors[n] = (struct iovec){buffers + n * room, room};
    messages[n].msg_hdr.msg_iov = &vectors[n];
    messages[n].msg_hdr.msg_iovlen = 1;
    verdicts[n] = (struct Verdict){
        {sizeof(struct Verdict), NFNL_SUBSYS_QUEUE << 8 | (options.verdicts == BATCH ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT),
         NLM_F_REQUEST, 0, 0},
        {AF_UNSPEC, NFNETLINK_V0, htons(options.queue)},
        {NLA_HDRLEN + sizeof(struct nfqnl_msg_verdict_hdr), NFQA_VERDICT_HDR},
        {htonl(1 /* NF_ACCEPT */), 0},
        {NLA_HDRLEN + 4, NFQA_MARK},
        htonl(options.mark),
    };
  }
}

static uint64_t Nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* One receiving system call of at most `most` messages behind the first `have`. Number received; 0: there was none. */
static int ReceiveOnce(uint32_t have, uint32_t most, int flags) {
  systemCalls++;
  int received;
  if (options.recvmmsg) {
    received = recvmmsg(netlink, messages + have, most, flags == 0 ? MSG_WAITFORONE : flags, NULL);
  } else {
    ssize_t bytes = recv(netlink, vectors[have].iov_base, vectors[have].iov_len, flags);
    if (bytes >= 0) messages[have].msg_len = bytes;
    received = bytes < 0 ? -1 : 1;
  }
  if (received >= 0) return received;
  if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) Fail("receive");
  return 0;
}

static uint32_t Receive(void) {
  uint32_t count = 0;
  if (options.spin > 0) {
    uint64_t until = 0;
    while ((count = ReceiveOnce(0, options.batch, MSG_DONTWAIT)) == 0 && !ended) {
      uint64_t now = Nanoseconds();
      if (until == 0) until = now + options.spin * 1000ull;
      if (now >= until) break;
    }
  }
  if (count == 0) {
    sleeps += options.spin > 0;
    count = ReceiveOnce(0, options.batch, 0);
  }
  if (!options.recvmmsg && count > 0)
    while (count < options.batch && ReceiveOnce(count, 1, MSG_DONTWAIT) == 1) count++;
  return count;
}

/* The id of a packet; 0: it is none. The packet's header is the first attribute that the kernel writes. */
static uint32_t PacketId(uint32_t n) {
  const uint8_t *bytes = vectors[n].iov_base;
  struct nlmsghdr header;
  struct nfqnl_msg_packet_hdr packet;
  size_t at = NLMSG_HDRLEN + sizeof(struct nfgenmsg) + NLA_HDRLEN;
  if (messages[n].msg_len < at + sizeof packet) return 0;
  memcpy(&header, bytes, sizeof header);
  if (header.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) return 0;
  memcpy(&packet, bytes + at, sizeof packet);
  return packet.packet_id;
}

static void Send(const struct Verdict *first, uint32_t count) {
  systemCalls++;
  if (send(netlink, first, count * sizeof *first, 0) < 0) Fail("send verdicts");
}

static void Serve(void) {
  while (!ended) {
    uint32_t received = Receive(), answers = 0;
    for (uint32_t n = 0; n < received; n++) {
      uint32_t id = PacketId(n);
      if (id != 0) verdicts[answers++].verdict.id = id;
    }
    if (answers == 0) continue;
    if (options.verdicts == EACH)
      for (uint32_t n = 0; n < answers; n++) Send(verdicts + n, 1);
    else if (options.verdicts == CONCATENATED)
      Send(verdicts, answers);
    else /* Answers every packet with this id or a lower one. */
      Send(verdicts + answers - 1, 1);
    packets += answers;
    batches++;
  }
}

static uint32_t NumberOf(const char *name, const char *text) {
  char *end;
  unsigned long number = strtoul(text, &end, 10);
  if (*text == 0 || *end != 0 || number > INT32_MAX) {
    fprintf(stderr, "queue: %s: %s is no number\n", name, text);
    exit(2);
  }
  return number;
}

static int ChoiceOf(const char *name, const char *text, const char *const *choices) {
  for (int n = 0; choices[n] != NULL; n++)
    if (strcmp(text, choices[n]) == 0) return n;
  fprintf(stderr, "queue: %s: %s is no choice\n", name, text);
  exit(2);
}

int main(int count, char **words) {
  static const char *const receive[] = {"recvmsg", "recvmmsg", NULL}, *const answers[] = {"each", "concatenated", "batch", NULL},
                           *const onOff[] = {"off", "on", NULL};
  for (int n = 1; n < count; n += 2) {
    const char *name = words[n], *value = n + 1 < count ? words[n + 1] : "";
    if (strcmp(name, "--queue") == 0) options.queue = NumberOf(name, value);
    else if (strcmp(name, "--length") == 0) options.length = NumberOf(name, value);
    else if (strcmp(name, "--mark") == 0) options.mark = NumberOf(name, value);
    else if (strcmp(name, "--batch") == 0) options.batch = NumberOf(name, value);
    else if (strcmp(name, "--receive") == 0) options.recvmmsg = ChoiceOf(name, value, receive);
    else if (strcmp(name, "--verdicts") == 0) options.verdicts = ChoiceOf(name, value, answers);
    else if (strcmp(name, "--spin") == 0) options.spin = NumberOf(name, value);
    else if (strcmp(name, "--gso") == 0) options.gso = ChoiceOf(name, value, onOff);
    else if (strcmp(name, "--copy") == 0) options.copy = NumberOf(name, value);
    else if (strcmp(name, "--buffer") == 0) options.buffer = NumberOf(name, value);
    else if (strcmp(name, "--busy-poll") == 0) options.busyPoll = NumberOf(name, value);
    else {
      fprintf(stderr, "queue: there is no option %s\n", name);
      return 2;
    }
  }
  if (options.batch < 1 || options.batch > MOST_PACKETS) {
    fprintf(stderr, "queue: --batch: 1 to %d\n", MOST_PACKETS);
    return 2;
  }
  struct sigaction action = {.sa_handler = End};
  sigaction(SIGTERM, &action, NULL);
  Open();
  Prepare();
  puts("bound");
  fflush(stdout);
  Serve();
  printf("{\"packets\":%llu,\"batches\":%llu,\"systemCalls\":%llu,\"sleeps\":%llu}\n", (unsigned long long)packets,
         (unsigned long long)batches, (unsigned long long)systemCalls, (unsigned long long)sleeps);
  return 0;
}
