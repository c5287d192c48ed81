/*
 * The NFQUEUE shim. Contract of this room:
 * - it knows sockets, bytes, packet ids, verdicts and marks; what a packet means is decided elsewhere;
 * - packets are received straight into memory that the caller owns, and answered from it; nothing is allocated per call;
 * - it throws nothing: a call returns -errno, host/queue/native.ts makes errors of it and checks arguments beforehand;
 * - one handle belongs to one thread. Only `wake` may be called from any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <napi.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace {

constexpr uint16_t kPacketType = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET;
constexpr uint16_t kVerdictType = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT;
constexpr uint16_t kConfigType = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
constexpr uint32_t kDrop = 0;
/* NF_STOLEN, which the kernel takes from no user: the packet stays in the queue, its verdict comes later. */
constexpr uint32_t kHold = 2;
constexpr uint32_t kWholeMark = UINT32_MAX;

/* The kernel takes no more at a time in recvmmsg (UIO_MAXIOV). */
constexpr uint32_t kMostMessages = 1024;

/* One try a millisecond: a send that the kernel has no memory for gives up before a stopping worker is overdue. */
constexpr int kSendTries = 50;

/* Packets that come closer together than this are waited for in recvmmsg itself, which costs less and wakes sooner than poll.
 * A wake does not end that, so this is how late one may be seen. */
constexpr int kBlockMs = 20;
constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kBlockNs = kBlockMs * kNsPerMs;
/* Of packets that come closer together than this some more may be there when the first is received. */
constexpr int64_t kCloseNs = 50'000;
/* A wait counts as so much at most: after a pause a few packets are enough to know better. */
constexpr int64_t kLongestWaitNs = 2 * kBlockNs;

/* Order of `statistics`; COUNTERS in host/queue/native.ts names them. */
enum Counter {
  kPackets,
  kBatches,
  kSystemCalls,
  kVerdicts,
  kVerdictErrors,
  kTruncated,
  kMalformed,
  kSendRetries,
  kIdle,
  kCounters
};

/* Where `open` failed: it returns -(step * 4096 + errno); Linux's errno stays below 4096 (MAX_ERRNO). */
enum Step { kMemory, kSocket, kReceiveBuffer, kBind, kConfigure };
constexpr int kStepSize = 4096;

int Failed(Step step, int error) { return -(static_cast<int>(step) * kStepSize + error); }

struct VerdictMessage {
  nlmsghdr header;
  nfgenmsg generic;
  nlattr verdictAttribute;
  nfqnl_msg_verdict_hdr verdict;
  nlattr markAttribute;
  uint32_t mark;
};
static_assert(sizeof(VerdictMessage) == 40, "netlink messages stand back to back without padding");

/* Byte offsets within a descriptor. */
struct Fields {
  uint32_t packetId, offset, length, wireLength, verdict, mark;
};

/* A packet that is held, and its mark when it came. */
struct HeldMark {
  uint32_t packetId, mark;
};

struct Queue {
  int socket = -1;
  uint16_t number;
  int wake;
  int timeoutMs;
  Napi::Reference<Napi::Uint8Array> keepsMemory;
  uint8_t* memory;
  uint32_t descriptors, descriptorBytes, batch, packets, packetBytes, clock;
  /* Descriptors behind those of the batch: verdicts about packets that were held. */
  uint32_t behind;
  Fields fields;
  /* Packets in the queue that were received and have no verdict. While there are any, no verdict may be one about all
   * lower ids (NFQNL_MSG_VERDICT_BATCH): it would be theirs too. */
  uint32_t held = 0;
  /* Bits of the mark that a verdict sets; a packet keeps the others. The two below are used only where it keeps some. */
  uint32_t markMask;
  /* Marks of the packets in the descriptors of the batch. */
  std::vector<uint32_t> marks;
  std::vector<HeldMark> heldMarks;
  /* Messages at the front of `verdicts` that drop what could not be read; they leave with the next send. */
  uint32_t refused = 0;
  /* How long to try again and again before it sleeps, where packets come closer together than that; 0: not at all. */
  int64_t spinNs;
  /* A running mean of the last waits. */
  int64_t expectedWaitNs = kLongestWaitNs;
  /* When the last exchange returned, and how long after that its answer was given. */
  int64_t returnedAt = 0, decidedInNs = 0;
  std::vector<VerdictMessage> verdicts;
  std::vector<iovec> vectors;
  std::vector<mmsghdr> messages;
  double counters[kCounters] = {};

  ~Queue() { Close(); }
  void Close() {
    if (socket >= 0) close(socket);
    socket = -1;
  }
  bool KeepsBits() const { return markMask != kWholeMark; }
  uint8_t* Descriptor(uint32_t index) { return memory + descriptors + static_cast<size_t>(index) * descriptorBytes; }
};

uint32_t LoadWord(const uint8_t* at) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

void StoreWord(uint8_t* at, uint32_t word) { memcpy(at, &word, sizeof word); }

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/* ---- reading one netlink message ---- */

enum class Kind {
  kPacket,
  /* A packet whose message is cut or damaged but whose id was read. */
  kUnreadable,
  /* NLMSG_ERROR: an acknowledgement if `error` is 0. */
  kAnswer,
  /* Anything else: nothing can be done with it. */
  kForeign
};

struct Message {
  Kind kind = Kind::kForeign;
  uint32_t packetId = 0;
  const uint8_t* payload = nullptr;
  uint32_t length = 0;
  uint32_t wireLength = 0;
  /* The kernel gives none of a packet whose mark is 0. */
  uint32_t mark = 0;
  uint32_t sequence = 0;
  int error = 0;
};

/* Lengths are compared as unsigned numbers against what was received: nlmsg_len of a packet is unaligned, and the
 * kernel's NLMSG_OK and NLMSG_NEXT underflow on it. */
Message Read(const uint8_t* bytes, size_t received, bool truncated) {
  Message message;
  nlmsghdr header;
  if (received < sizeof header) return message;
  memcpy(&header, bytes, sizeof header);
  message.sequence = header.nlmsg_seq;
  if (header.nlmsg_type == NLMSG_ERROR) {
    if (received < sizeof header + sizeof(int)) return message;
    memcpy(&message.error, bytes + sizeof header, sizeof message.error);
    message.kind = Kind::kAnswer;
    return message;
  }
  if (header.nlmsg_type != kPacketType) return message;

  bool damaged = truncated || header.nlmsg_len > received;
  const size_t end = header.nlmsg_len < received ? header.nlmsg_len : received;
  bool identified = false;
  size_t at = sizeof header + sizeof(nfgenmsg);
  while (at + sizeof(nlattr) <= end) {
    nlattr attribute;
    memcpy(&attribute, bytes + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > end - at) {
      damaged = true;
      break;
    }
    const uint8_t* value = bytes + at + sizeof attribute;
    const size_t length = attribute.nla_len - sizeof attribute;
    switch (attribute.nla_type & NLA_TYPE_MASK) {
      case NFQA_PACKET_HDR:
        if (length < sizeof(nfqnl_msg_packet_hdr)) break;
        message.packetId = ntohl(LoadWord(value));
        identified = true;
        break;
      case NFQA_CAP_LEN:
        if (length >= sizeof(uint32_t)) message.wireLength = ntohl(LoadWord(value));
        break;
      case NFQA_MARK:
        if (length >= sizeof(uint32_t)) message.mark = ntohl(LoadWord(value));
        break;
      case NFQA_PAYLOAD:
        message.payload = value;
        message.length = static_cast<uint32_t>(length);
        break;
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  if (!identified) return message;
  if (message.wireLength < message.length) message.wireLength = message.length;
  message.kind = damaged ? Kind::kUnreadable : Kind::kPacket;
  return message;
}

/* ---- verdicts out, packets in ---- */

void PutVerdict(VerdictMessage& message, uint32_t packetId, uint32_t verdict, uint32_t mark) {
  message.verdict.verdict = htonl(verdict);
  message.verdict.id = htonl(packetId);
  message.mark = htonl(mark);
}

std::vector<HeldMark>::iterator HeldMarkOf(Queue& queue, uint32_t packetId) {
  return std::find_if(queue.heldMarks.begin(), queue.heldMarks.end(),
                      [packetId](const HeldMark& held) { return held.packetId == packetId; });
}

void ForgetHeldMark(Queue& queue, uint32_t packetId) {
  const auto held = HeldMarkOf(queue, packetId);
  if (held == queue.heldMarks.end()) return;
  *held = queue.heldMarks.back();
  queue.heldMarks.pop_back();
}

/* The mark of the packet of descriptor `index` when it came. */
uint32_t PacketMark(Queue& queue, uint32_t index, uint32_t packetId) {
  if (index < queue.batch) return queue.marks[index];
  const auto held = HeldMarkOf(queue, packetId);
  return held == queue.heldMarks.end() ? 0 : held->mark;
}

/* The descriptor's verdict as message `count`; false if it is held, which is no message. */
bool AddVerdict(Queue& queue, uint32_t count, uint32_t index) {
  const uint8_t* descriptor = queue.Descriptor(index);
  const uint32_t packetId = LoadWord(descriptor + queue.fields.packetId);
  const uint32_t verdict = LoadWord(descriptor + queue.fields.verdict);
  if (verdict == kHold) {
    if (queue.KeepsBits()) queue.heldMarks.push_back({packetId, queue.marks[index]});
    return false;
  }
  uint32_t mark = LoadWord(descriptor + queue.fields.mark);
  if (queue.KeepsBits()) {
    mark = (PacketMark(queue, index, packetId) & ~queue.markMask) | (mark & queue.markMask);
  }
  PutVerdict(queue.verdicts[count], packetId, verdict, mark);
  return true;
}

/* One datagram: the kernel works through it before send returns. @returns 0 or -errno */
int SendMessages(Queue& queue, uint32_t count) {
  const size_t bytes = count * sizeof(VerdictMessage);
  for (int tries = 1;; tries++) {
    queue.counters[kSystemCalls]++;
    const ssize_t sent = send(queue.socket, queue.verdicts.data(), bytes, 0);
    if (sent == static_cast<ssize_t>(bytes)) return 0;
    if (sent >= 0) return -EIO;
    const int error = errno;
    queue.counters[kSendRetries]++;
    if (error != EINTR && error != EAGAIN && error != ENOBUFS && error != ENOMEM) return -error;
    if (tries == kSendTries) return -error;
    if (error != EINTR) poll(nullptr, 0, 1);
  }
}

/* Sends what was refused, the verdicts of the first `answered` descriptors and those of the first `behind` ones behind the
 * batch as one datagram, in this order. On failure the same call may be
 * repeated; closing the socket makes the kernel drop them. */
int SendVerdicts(Queue& queue, uint32_t answered, uint32_t behind) {
  const size_t heldMarks = queue.heldMarks.size();
  uint32_t count = queue.refused;
  for (uint32_t n = 0; n < answered; n++) count += AddVerdict(queue, count, n);
  const uint32_t held = queue.refused + answered - count;
  for (uint32_t n = 0; n < behind; n++) count += AddVerdict(queue, count, queue.batch + n);
  if (count == 0) {
    queue.held += held;
    return 0;
  }
  const int sent = SendMessages(queue, count);
  if (sent < 0) {
    queue.heldMarks.resize(heldMarks);
    return sent;
  }
  if (queue.KeepsBits()) {
    for (uint32_t n = 0; n < behind; n++) {
      ForgetHeldMark(queue, LoadWord(queue.Descriptor(queue.batch + n) + queue.fields.packetId));
    }
  }
  queue.counters[kVerdicts] += count;
  queue.refused = 0;
  queue.held += held;
  queue.held -= behind;
  return 0;
}

void Refuse(Queue& queue, uint32_t packetId) { PutVerdict(queue.verdicts[queue.refused++], packetId, kDrop, 0); }

/* Number of packets in the descriptors, 0 if the messages held none, or -errno. */
int Receive(Queue& queue, uint32_t most, int flags) {
  queue.counters[kSystemCalls]++;
  const int received = recvmmsg(queue.socket, queue.messages.data(), most, flags, nullptr);
  if (received < 0) return -errno;
  uint32_t count = 0;
  for (int n = 0; n < received; n++) {
    const bool truncated = (queue.messages[n].msg_hdr.msg_flags & MSG_TRUNC) != 0;
    const uint8_t* buffer = static_cast<const uint8_t*>(queue.vectors[n].iov_base);
    const Message message = Read(buffer, queue.messages[n].msg_len, truncated);
    if (truncated) queue.counters[kTruncated]++;
    switch (message.kind) {
      case Kind::kPacket: {
        queue.marks[count] = message.mark;
        uint8_t* descriptor = queue.Descriptor(count++);
        const uint8_t* payload = message.payload == nullptr ? buffer : message.payload;
        StoreWord(descriptor + queue.fields.packetId, message.packetId);
        StoreWord(descriptor + queue.fields.offset, static_cast<uint32_t>(payload - queue.memory));
        StoreWord(descriptor + queue.fields.length, message.length);
        StoreWord(descriptor + queue.fields.wireLength, message.wireLength);
        break;
      }
      case Kind::kUnreadable:
        if (!truncated) queue.counters[kMalformed]++;
        Refuse(queue, message.packetId);
        break;
      case Kind::kAnswer:
        if (message.error != 0) queue.counters[kVerdictErrors]++;
        break;
      case Kind::kForeign:
        queue.counters[kMalformed]++;
        break;
    }
  }
  if (count > 0) queue.counters[kBatches]++;
  queue.counters[kPackets] += count;
  return static_cast<int>(count);
}

/* Tries again and again. The processor is offered to others each time: who sleeps on a processor that is busy waits longer. */
int Spin(Queue& queue, int64_t from) {
  int count = -EAGAIN;
  while (count == -EAGAIN && Nanoseconds() - from < queue.spinNs) {
    queue.counters[kSystemCalls]++;
    sched_yield();
    count = Receive(queue, queue.batch, MSG_DONTWAIT);
  }
  return count;
}

/* Sleeps until there is something to receive, a wake, or the time is over. */
int Poll(Queue& queue) {
  pollfd waits[] = {{queue.socket, POLLIN, 0}, {queue.wake, POLLIN, 0}};
  queue.counters[kSystemCalls]++;
  if (poll(waits, 2, queue.timeoutMs) < 0 && errno != EINTR) return -errno;
  if (waits[1].revents & POLLIN) {
    /* Taken, so that a wake is one wake and not a poll that never waits again. Empty is as good as taken. */
    uint64_t wakes;
    const ssize_t taken = read(queue.wake, &wakes, sizeof wakes);
    if (taken < 0 && errno != EAGAIN) return -errno;
  }
  return waits[0].revents == 0 ? -EAGAIN : Receive(queue, queue.batch, MSG_DONTWAIT);
}

/* As Receive, once there is something. */
int Wait(Queue& queue) {
  const int64_t from = Nanoseconds();
  int count = queue.expectedWaitNs < queue.spinNs ? Spin(queue, from) : -EAGAIN;
  if (count == -EAGAIN) {
    const bool blocks = queue.expectedWaitNs < kBlockNs && queue.timeoutMs >= kBlockMs;
    /* Further apart a packet comes alone, and to look for a second keeps it waiting. */
    const uint32_t most = queue.expectedWaitNs < kCloseNs ? queue.batch : 1;
    count = blocks ? Receive(queue, most, MSG_WAITFORONE) : Poll(queue);
  }
  const int64_t wait = count == -EAGAIN ? kLongestWaitNs : std::min(Nanoseconds() - from, kLongestWaitNs);
  queue.expectedWaitNs += (wait - queue.expectedWaitNs) / 8;
  return count;
}

int SendAndReceive(Queue& queue, uint32_t answered) {
  if (queue.socket < 0) return -EBADF;
  if (answered > queue.batch) return -EINVAL;
  const int sent = SendVerdicts(queue, answered, 0);
  if (sent < 0) return sent;
  int count = Receive(queue, queue.batch, MSG_DONTWAIT);
  if (count == -EAGAIN) count = Wait(queue);
  /* ENOBUFS: an overrun of the receive buffer; the kernel's list counts what was lost. */
  if (count == -EAGAIN || count == -EINTR || count == -ENOBUFS) {
    queue.counters[kIdle]++;
    return 0;
  }
  return count;
}

/* ---- opening ---- */

/* Sends one configuration message and waits for its acknowledgement. A packet that overtakes it is dropped. */
int Configure(Queue& queue, const std::vector<uint8_t>& attributes, uint32_t sequence) {
  nlmsghdr header = {};
  nfgenmsg generic = {AF_UNSPEC, NFNETLINK_V0, htons(queue.number)};
  header.nlmsg_len = static_cast<uint32_t>(sizeof header + sizeof generic + attributes.size());
  header.nlmsg_type = kConfigType;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  header.nlmsg_seq = sequence;
  std::vector<uint8_t> bytes(header.nlmsg_len);
  memcpy(bytes.data(), &header, sizeof header);
  memcpy(bytes.data() + sizeof header, &generic, sizeof generic);
  memcpy(bytes.data() + sizeof header + sizeof generic, attributes.data(), attributes.size());
  if (send(queue.socket, bytes.data(), bytes.size(), 0) < 0) return -errno;
  for (;;) {
    pollfd wait = {queue.socket, POLLIN, 0};
    const int ready = poll(&wait, 1, queue.timeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return -errno;
    if (ready == 0) return -ETIMEDOUT;
    uint8_t* buffer = queue.memory + queue.packets;
    const ssize_t received = recv(queue.socket, buffer, queue.packetBytes, MSG_DONTWAIT | MSG_TRUNC);
    if (received < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (received < 0) return -errno;
    const bool truncated = static_cast<size_t>(received) > queue.packetBytes;
    const Message message = Read(buffer, truncated ? queue.packetBytes : static_cast<size_t>(received), truncated);
    if (message.kind == Kind::kAnswer && message.sequence == sequence) return message.error;
    if (message.kind == Kind::kPacket || message.kind == Kind::kUnreadable) {
      Refuse(queue, message.packetId);
      const int sent = SendVerdicts(queue, 0, 0);
      if (sent < 0) return sent;
    }
  }
}

template <typename Value>
void PutAttribute(std::vector<uint8_t>& attributes, uint16_t type, const Value& value) {
  const nlattr attribute = {static_cast<uint16_t>(sizeof(nlattr) + sizeof value), type};
  const size_t at = attributes.size();
  attributes.resize(at + NLA_ALIGN(attribute.nla_len));
  memcpy(attributes.data() + at, &attribute, sizeof attribute);
  memcpy(attributes.data() + at + sizeof attribute, &value, sizeof value);
}

/* 0, or what Failed makes. */
int OpenSocket(Queue& queue, uint32_t queueLength, uint32_t copyRange, int receiveBufferBytes) {
  queue.socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (queue.socket < 0) return Failed(kSocket, errno);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  /* Connected to the kernel: nobody else's datagrams are let in. */
  if (bind(queue.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      connect(queue.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return Failed(kSocket, errno);
  }
  const int size = receiveBufferBytes;
  if (setsockopt(queue.socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 &&
      setsockopt(queue.socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0) {
    return Failed(kReceiveBuffer, errno);
  }
  const timeval blocks = {0, kBlockMs * 1000};
  if (setsockopt(queue.socket, SOL_SOCKET, SO_RCVTIMEO, &blocks, sizeof blocks) < 0) return Failed(kSocket, errno);
  const int on = 1;
  if (setsockopt(queue.socket, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) < 0 ||
      setsockopt(queue.socket, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) < 0) {
    return Failed(kSocket, errno);
  }
  /* Three messages: the kernel hands out packets only once the copy mode is set, which is therefore the last. */
  std::vector<uint8_t> command, limits, mode;
  PutAttribute(command, NFQA_CFG_CMD, nfqnl_msg_config_cmd{NFQNL_CFG_CMD_BIND, 0, 0});
  PutAttribute(limits, NFQA_CFG_QUEUE_MAXLEN, htonl(queueLength));
  PutAttribute(limits, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
  PutAttribute(limits, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
  PutAttribute(mode, NFQA_CFG_PARAMS, nfqnl_msg_config_params{htonl(copyRange), NFQNL_COPY_PACKET});
  int answer = Configure(queue, command, 1);
  if (answer < 0) return Failed(kBind, -answer);
  answer = Configure(queue, limits, 2);
  if (answer == 0) answer = Configure(queue, mode, 3);
  return answer < 0 ? Failed(kConfigure, -answer) : 0;
}

/* Whole words, all of them inside the memory. Sums in 64 bits: no 32-bit field can make them wrap. */
bool FitsMemory(const Queue& queue, size_t memoryBytes, uint32_t copyRange) {
  const Fields& fields = queue.fields;
  for (uint32_t field : {fields.packetId, fields.offset, fields.length, fields.wireLength, fields.verdict, fields.mark}) {
    if (field % 4 != 0 || uint64_t{field} + 4 > queue.descriptorBytes) return false;
  }
  const uint64_t descriptorsEnd = queue.descriptors + (uint64_t{queue.batch} + queue.behind) * queue.descriptorBytes;
  const uint64_t packetsEnd = queue.packets + uint64_t{queue.batch} * queue.packetBytes;
  const bool apart = descriptorsEnd <= queue.packets || packetsEnd <= queue.descriptors;
  return queue.batch > 0 && queue.batch <= kMostMessages && queue.behind <= kMostMessages && queue.descriptors % 4 == 0 && copyRange < queue.packetBytes &&
         apart && descriptorsEnd <= memoryBytes && packetsEnd <= memoryBytes && packetsEnd <= UINT32_MAX &&
         queue.clock % sizeof(double) == 0 && uint64_t{queue.clock} + sizeof(double) <= memoryBytes;
}

void PrepareMessages(Queue& queue) {
  VerdictMessage blank = {};
  blank.header.nlmsg_len = sizeof blank;
  blank.header.nlmsg_type = kVerdictType;
  blank.header.nlmsg_flags = NLM_F_REQUEST;
  blank.generic = {AF_UNSPEC, NFNETLINK_V0, htons(queue.number)};
  blank.verdictAttribute = {sizeof(nlattr) + sizeof(nfqnl_msg_verdict_hdr), NFQA_VERDICT_HDR};
  blank.markAttribute = {sizeof(nlattr) + sizeof(uint32_t), NFQA_MARK};
  queue.verdicts.assign(size_t{2} * queue.batch + queue.behind, blank);
  queue.marks.resize(queue.batch);
  /* So many are held at most: each is answered by a descriptor of those behind the batch. */
  queue.heldMarks.reserve(queue.behind);
  queue.vectors.resize(queue.batch);
  queue.messages.resize(queue.batch);
  for (uint32_t n = 0; n < queue.batch; n++) {
    queue.vectors[n] = {queue.memory + queue.packets + static_cast<size_t>(n) * queue.packetBytes, queue.packetBytes};
    queue.messages[n] = {};
    queue.messages[n].msg_hdr.msg_iov = &queue.vectors[n];
    queue.messages[n].msg_hdr.msg_iovlen = 1;
  }
}

/* ---- the boundary ---- */

Napi::Value Number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }

uint32_t Word(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Uint32Value();
}

Queue& Handle(const Napi::CallbackInfo& info) { return *info[0].As<Napi::External<Queue>>().Data(); }

Napi::Value Open(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  const Napi::Object fields = options.Get("fields").As<Napi::Object>();
  Napi::Uint8Array memory = options.Get("memory").As<Napi::Uint8Array>();
  auto queue = std::make_unique<Queue>();
  queue->number = static_cast<uint16_t>(Word(options, "queue"));
  queue->wake = options.Get("wake").As<Napi::Number>().Int32Value();
  queue->timeoutMs = options.Get("timeoutMs").As<Napi::Number>().Int32Value();
  queue->spinNs = int64_t{Word(options, "spinMicroseconds")} * 1000;
  queue->memory = memory.Data();
  queue->markMask = Word(options, "markMask");
  queue->descriptors = Word(options, "descriptors");
  queue->descriptorBytes = Word(options, "descriptorBytes");
  queue->batch = Word(options, "batch");
  queue->behind = Word(options, "behind");
  queue->packets = Word(options, "packets");
  queue->packetBytes = Word(options, "packetBytes");
  queue->clock = Word(options, "clock");
  queue->fields = {Word(fields, "packetId"),   Word(fields, "offset"),  Word(fields, "length"),
                   Word(fields, "wireLength"), Word(fields, "verdict"), Word(fields, "mark")};
  const uint32_t copyRange = Word(options, "copyRange");
  if (!FitsMemory(*queue, memory.ByteLength(), copyRange)) return Number(info, Failed(kMemory, EINVAL));
  PrepareMessages(*queue);
  const int opened = OpenSocket(*queue, Word(options, "queueLength"), copyRange,
                                options.Get("receiveBufferBytes").As<Napi::Number>().Int32Value());
  if (opened < 0) return Number(info, opened);
  queue->keepsMemory = Napi::Persistent(memory);
  /* Finalizers also run when a worker's environment is torn down: a terminated worker leaves no bound queue. */
  return Napi::External<Queue>::New(info.Env(), queue.release(), [](Napi::Env, Queue* ended) { delete ended; });
}

Napi::Value Exchange(const Napi::CallbackInfo& info) {
  Queue& queue = Handle(info);
  const int count = SendAndReceive(queue, info[1].As<Napi::Number>().Uint32Value());
  queue.returnedAt = Nanoseconds();
  const double clock = static_cast<double>(queue.returnedAt);
  memcpy(queue.memory + queue.clock, &clock, sizeof clock);
  return Number(info, count);
}

Napi::Value DecidedIn(const Napi::CallbackInfo& info) {
  return Number(info, static_cast<double>(std::min<int64_t>(Handle(info).decidedInNs, INT32_MAX)));
}

Napi::Value Answer(const Napi::CallbackInfo& info) {
  Queue& queue = Handle(info);
  const uint32_t answered = info[1].As<Napi::Number>().Uint32Value();
  if (queue.socket < 0) return Number(info, -EBADF);
  queue.decidedInNs = Nanoseconds() - queue.returnedAt;
  const uint32_t behind = info[2].As<Napi::Number>().Uint32Value();
  if (answered > queue.batch || behind > queue.behind || behind > queue.held + answered) return Number(info, -EINVAL);
  return Number(info, SendVerdicts(queue, answered, behind));
}

void Statistics(const Napi::CallbackInfo& info) {
  const Queue& queue = Handle(info);
  Napi::Float64Array into = info[1].As<Napi::Float64Array>();
  const size_t count = std::min<size_t>(into.ElementLength(), kCounters);
  memcpy(into.Data(), queue.counters, count * sizeof(double));
}

void Close(const Napi::CallbackInfo& info) { Handle(info).Close(); }

Napi::Value CreateWake(const Napi::CallbackInfo& info) {
  const int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return Number(info, wake < 0 ? -errno : wake);
}

Napi::Value Wake(const Napi::CallbackInfo& info) {
  const uint64_t one = 1;
  const ssize_t written = write(info[0].As<Napi::Number>().Int32Value(), &one, sizeof one);
  /* EAGAIN: the counter is full, so whoever waits is awake. */
  const bool failed = written < 0 && errno != EAGAIN;
  return Number(info, failed ? -errno : 0);
}

Napi::Value CloseWake(const Napi::CallbackInfo& info) {
  return Number(info, close(info[0].As<Napi::Number>().Int32Value()) < 0 ? -errno : 0);
}

Napi::Value NamespaceCookie(const Napi::CallbackInfo& info) {
  const int probe = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (probe < 0) return Number(info, -errno);
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  const int error = getsockopt(probe, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0 ? errno : 0;
  close(probe);
  if (error == ENOPROTOOPT) return info.Env().Null();
  if (error != 0) return Number(info, -error);
  return Napi::BigInt::New(info.Env(), cookie);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("open", Napi::Function::New(env, Open, "open"));
  exports.Set("exchange", Napi::Function::New(env, Exchange, "exchange"));
  exports.Set("answer", Napi::Function::New(env, Answer, "answer"));
  exports.Set("decidedIn", Napi::Function::New(env, DecidedIn, "decidedIn"));
  exports.Set("statistics", Napi::Function::New(env, Statistics, "statistics"));
  exports.Set("close", Napi::Function::New(env, Close, "close"));
  exports.Set("createWake", Napi::Function::New(env, CreateWake, "createWake"));
  exports.Set("wake", Napi::Function::New(env, Wake, "wake"));
  exports.Set("closeWake", Napi::Function::New(env, CloseWake, "closeWake"));
  exports.Set("namespaceCookie", Napi::Function::New(env, NamespaceCookie, "namespaceCookie"));
  return exports;
}

}  // namespace

NODE_API_MODULE(nfqueue, Init)
