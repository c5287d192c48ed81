/*
 * The decision of assembly/ once more, in C: parse, linear flow match, djb2, Maglev lookup. It exists to be measured
 * beside the Wasm core, over the very same memory: a file that holds it, image and packets included.
 *
 *   core IMAGE AREAS BATCHES   decides BATCHES batches, turn by turn of AREAS worker areas; prints nanoseconds
 *   core IMAGE AREAS check     decides each area's batch once; writes their descriptors to stdout
 *
 * Offsets of regions and sizes of records come from the core by -D; IMAGE is mapped privately, so it stays as it is.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define NONE 0xffffffffu
#define EMPTY 0xffffu

enum { OK, NO_FLOW, NO_TARGET, NOT_IP, TRUNCATED, BAD_HEADER, TOO_DEEP, LATER_FRAGMENT };
enum { TCP = 6, UDP = 17, SCTP = 132, ICMP = 1, ICMPV6 = 58, FRAGMENT = 44, AUTHENTICATION = 51 };

typedef struct {
  uint32_t packetId, offset, length, wireLength, verdict, mark, reason, flow, stream, hash, target, fragment,
      counter;
} Descriptor;

/* The first 40 bytes are what is hashed. */
typedef struct {
  uint64_t source[2], destination[2];
  uint16_t echoId, protocol, sourcePort, destinationPort;
  const uint8_t *transport, *end, *readEnd, *wireEnd;
  uint32_t plainIcmp, fragment, inner, unread;
} Parsed;

typedef struct {
  uint32_t generation, flows, flowCount, streams, streamCount, sctpPortsHash, promiscuousPing, markNoFlow, noFlowMark,
      markNoTarget, noTargetMark, classifier, owners, ownerCount;
} Header;

typedef struct {
  uint32_t protocols, stream, counter, encapPort, destinations, destinationCount, sources, sourceCount,
      destinationPorts, destinationPortCount, sourcePorts, sourcePortCount, byteMatches, byteMatchCount;
} Flow;

typedef struct {
  uint64_t address[2], mask[2];
} Cidr;

typedef struct {
  uint16_t first, last;
} Range;

typedef struct {
  uint32_t protocol, offset, width, mask, value;
} ByteMatch;

typedef struct {
  uint32_t table, size, targets, targetCount, previous;
} Stream;

typedef struct {
  uint32_t mark, counter;
} Target;

typedef struct {
  uint64_t packets, bytes;
} ReasonCount;

typedef struct {
  uint32_t epoch, stop;
  uint64_t batches, packets;
} WorkerState;

_Static_assert(sizeof(Descriptor) == DESCRIPTOR_BYTES, "descriptor");
_Static_assert(sizeof(Flow) == FLOW_BYTES, "flow");
_Static_assert(sizeof(Stream) == STREAM_BYTES, "stream");
_Static_assert(sizeof(Cidr) == CIDR_BYTES && sizeof(Range) == RANGE_BYTES, "conditions");
_Static_assert(sizeof(ByteMatch) == BYTE_MATCH_BYTES && sizeof(Header) == HEADER_BYTES, "header");

static uint8_t *memory;

static inline uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static inline uint16_t raw16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return value; }
static inline uint32_t raw32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return value; }

static inline int reach(const Parsed *parsed, const uint8_t *at, uint32_t length) {
  if (at + length <= parsed->end) return OK;
  return at + length <= parsed->wireEnd && at + length > parsed->readEnd ? TOO_DEEP : TRUNCATED;
}

static inline int bound(const uint8_t *statedEnd, Parsed *parsed, int inner) {
  if (statedEnd > parsed->wireEnd) return inner ? OK : TRUNCATED;
  parsed->wireEnd = statedEnd;
  if (parsed->end > statedEnd) parsed->end = statedEnd;
  return OK;
}

static int ipv4(const uint8_t *at, Parsed *parsed, int inner);
static int ipv6(const uint8_t *at, Parsed *parsed, int inner);

static inline int ports(const uint8_t *at, Parsed *parsed) {
  int reason = reach(parsed, at, 4);
  if (reason != OK) return reason;
  parsed->sourcePort = raw16(parsed->inner ? at + 2 : at);
  parsed->destinationPort = raw16(parsed->inner ? at : at + 2);
  return OK;
}

static int plainIcmp(const uint8_t *at, Parsed *parsed, int echoRequest) {
  parsed->plainIcmp = 1;
  if (!echoRequest) return OK;
  int reason = reach(parsed, at, 6);
  if (reason != OK) return reason;
  parsed->echoId = raw16(at + 4);
  return OK;
}

static int carried(const uint8_t *at, Parsed *parsed, uint32_t version) {
  int reason = reach(parsed, at, 9);
  if (reason != OK) return reason;
  if (at[8] >> 4 != version) return BAD_HEADER;
  return version == 4 ? ipv4(at + 8, parsed, 1) : ipv6(at + 8, parsed, 1);
}

static int transport(const uint8_t *at, uint32_t protocol, Parsed *parsed, int inner, uint32_t icmp) {
  parsed->transport = at;
  parsed->inner = inner;
  if (protocol == TCP || protocol == UDP || protocol == SCTP) return ports(at, parsed);
  if (protocol != icmp || inner) return OK;
  int reason = reach(parsed, at, 1);
  if (reason != OK) return reason;
  uint32_t type = at[0];
  if (icmp == ICMP) {
    if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12) return carried(at, parsed, 4);
    return plainIcmp(at, parsed, type == 8);
  }
  if (type >= 1 && type <= 4) return carried(at, parsed, 6);
  return plainIcmp(at, parsed, type == 128);
}

static int ipv4(const uint8_t *at, Parsed *parsed, int inner) {
  int reason = reach(parsed, at, 20);
  if (reason != OK) return reason;
  uint32_t headerLength = (at[0] & 15) * 4;
  uint32_t totalLength = be16(at + 2);
  if (totalLength == 0 && !inner && parsed->wireEnd - at > 0xffff) totalLength = (uint32_t)(parsed->wireEnd - at);
  if (headerLength < 20 || totalLength < headerLength) return BAD_HEADER;
  reason = bound(at + totalLength, parsed, inner);
  if (reason != OK) return reason;
  reason = reach(parsed, at, headerLength);
  if (reason != OK) return reason;

  const uint64_t mapped = 0x00000000ffff0000ull;
  uint64_t source = mapped | (uint64_t)raw32(at + 12) << 32, destination = mapped | (uint64_t)raw32(at + 16) << 32;
  parsed->source[0] = parsed->destination[0] = 0;
  parsed->source[1] = inner ? destination : source;
  parsed->destination[1] = inner ? source : destination;
  parsed->protocol = at[9];
  uint32_t fragment = be16(at + 6);
  if (fragment & 0x3fff) {
    int later = (fragment & 0x1fff) != 0;
    if (!inner) parsed->fragment = later ? 2 : 1;
    if (later) return LATER_FRAGMENT;
  }
  return transport(at + headerLength, at[9], parsed, inner, ICMP);
}

static inline int isExtensionHeader(uint32_t protocol) {
  return protocol == 0 || protocol == 43 || protocol == FRAGMENT || protocol == AUTHENTICATION || protocol == 60 ||
         protocol == 135 || protocol == 139 || protocol == 140;
}

static int ipv6(const uint8_t *at, Parsed *parsed, int inner) {
  int reason = reach(parsed, at, 40);
  if (reason != OK) return reason;
  uint32_t payloadLength = be16(at + 4);
  if (payloadLength == 0 && !inner && parsed->wireEnd - at > 0xffff + 40)
    payloadLength = (uint32_t)(parsed->wireEnd - at - 40);
  reason = bound(at + 40 + payloadLength, parsed, inner);
  if (reason != OK) return reason;
  memcpy(inner ? parsed->destination : parsed->source, at + 8, 16);
  memcpy(inner ? parsed->source : parsed->destination, at + 24, 16);

  uint32_t protocol = at[6];
  at += 40;
  for (int followed = 0; isExtensionHeader(protocol); followed++) {
    if (followed == EXTENSION_HEADERS) return TOO_DEEP;
    reason = reach(parsed, at, 2);
    if (reason != OK) return reason;
    uint32_t length = protocol == FRAGMENT ? 8 : protocol == AUTHENTICATION ? (at[1] + 2u) * 4 : (at[1] + 1u) * 8;
    reason = reach(parsed, at, length);
    if (reason != OK) return reason;
    if (protocol == FRAGMENT && (be16(at + 2) & 0xfff9)) {
      int later = (be16(at + 2) & 0xfff8) != 0;
      if (!inner) parsed->fragment = later ? 2 : 1;
      if (later) return LATER_FRAGMENT;
    }
    protocol = at[0];
    at += length;
  }
  parsed->protocol = (uint16_t)protocol;
  return transport(at, protocol, parsed, inner, ICMPV6);
}

static int parse(const Descriptor *descriptor, Parsed *parsed) {
  memset(parsed, 0, sizeof *parsed);
  const uint8_t *at = memory + descriptor->offset;
  uint32_t length = descriptor->length < READ_BYTES ? descriptor->length : READ_BYTES;
  parsed->end = at + length;
  uint32_t wireLength = descriptor->wireLength < WIRE_BYTES ? descriptor->wireLength : WIRE_BYTES;
  parsed->readEnd = at + READ_BYTES;
  parsed->wireEnd = at + (wireLength > length ? wireLength : length);
  if (length == 0) return TRUNCATED;
  if (at[0] >> 4 == 4) return ipv4(at, parsed, 0);
  if (at[0] >> 4 == 6) return ipv6(at, parsed, 0);
  return NOT_IP;
}

static inline uint32_t protocolBit(uint32_t protocol) {
  return protocol == TCP ? 1 : protocol == UDP ? 2 : protocol == SCTP ? 4 : 0;
}

static inline int inCidrs(uint32_t records, uint32_t count, const uint64_t address[2]) {
  if (count == 0) return 1;
  const Cidr *cidr = (const Cidr *)(memory + records);
  for (const Cidr *end = cidr + count; cidr < end; cidr++)
    if ((address[0] & cidr->mask[0]) == cidr->address[0] && (address[1] & cidr->mask[1]) == cidr->address[1]) return 1;
  return 0;
}

static inline int inRanges(uint32_t records, uint32_t count, uint16_t port) {
  if (count == 0) return 1;
  uint16_t value = __builtin_bswap16(port);
  const Range *range = (const Range *)(memory + records);
  for (const Range *end = range + count; range < end; range++)
    if (value >= range->first && value <= range->last) return 1;
  return 0;
}

static int matchesBytes(const Flow *flow, Parsed *parsed) {
  int unread = OK;
  const ByteMatch *match = (const ByteMatch *)(memory + flow->byteMatches);
  for (const ByteMatch *end = match + flow->byteMatchCount; match < end; match++) {
    if (match->protocol != parsed->protocol) continue;
    const uint8_t *at = parsed->transport + match->offset;
    if (at + match->width > parsed->wireEnd) return 0;
    int reason = reach(parsed, at, match->width);
    if (reason != OK) {
      if (unread == OK) unread = reason;
      continue;
    }
    uint32_t value = 0;
    for (uint32_t byte = 0; byte < match->width; byte++) value = value << 8 | at[byte];
    if ((value & match->mask) != match->value) return 0;
  }
  parsed->unread = (uint32_t)unread;
  return 1;
}

static inline int matchesTransport(const Flow *flow, const Parsed *parsed) {
  if (flow->protocols != 0 && (flow->protocols & protocolBit(parsed->protocol)) == 0) return 0;
  if (!inRanges(flow->destinationPorts, flow->destinationPortCount, parsed->destinationPort)) return 0;
  return inRanges(flow->sourcePorts, flow->sourcePortCount, parsed->sourcePort);
}

static uint32_t firstMatch(const Header *header, Parsed *parsed) {
  int byAddress = header->promiscuousPing && parsed->plainIcmp;
  const Flow *flow = (const Flow *)(memory + header->flows);
  for (uint32_t index = 0; index < header->flowCount; index++, flow++) {
    if (byAddress ? flow->encapPort != 0 : !matchesTransport(flow, parsed)) continue;
    if (!inCidrs(flow->destinations, flow->destinationCount, parsed->destination)) continue;
    if (!inCidrs(flow->sources, flow->sourceCount, parsed->source)) continue;
    if (flow->byteMatchCount != 0 && !byAddress) {
      if (!matchesBytes(flow, parsed)) continue;
      if (parsed->unread != OK) return NONE;
    }
    return index;
  }
  return NONE;
}

static inline uint32_t djb2(const uint8_t *at, uint32_t length) {
  uint32_t hash = 5381;
  for (const uint8_t *end = at + length; at < end; at++) hash = hash * 33 + *at;
  return hash;
}

static inline void accept_(Descriptor *descriptor, uint32_t mark) {
  descriptor->verdict = 1;
  descriptor->mark = mark;
}

static int decideOne(const Header *header, Descriptor *descriptor, Parsed *parsed, uint64_t *flowCounters) {
  descriptor->verdict = descriptor->mark = descriptor->hash = descriptor->counter = 0;
  descriptor->flow = descriptor->stream = descriptor->target = NONE;
  int reason = parse(descriptor, parsed);
  if (reason != OK) return reason;

  const Flow *flows = (const Flow *)(memory + header->flows);
  uint32_t index = firstMatch(header, parsed);
  if (index != NONE && flows[index].encapPort != 0) {
    flowCounters[flows[index].counter]++;
    parsed->transport += 8;
    parsed->protocol = SCTP;
    reason = ports(parsed->transport, parsed);
    if (reason != OK) return reason;
    index = firstMatch(header, parsed);
  }
  if (parsed->unread != OK) return (int)parsed->unread;
  if (index == NONE) {
    if (header->markNoFlow) accept_(descriptor, header->noFlowMark);
    return NO_FLOW;
  }
  const Flow *flow = &flows[index];
  flowCounters[flow->counter]++;
  descriptor->flow = index;
  descriptor->stream = flow->stream;
  const uint8_t *key = (const uint8_t *)parsed;
  uint32_t hash = header->sctpPortsHash && parsed->protocol == SCTP ? djb2(key + offsetof(Parsed, sourcePort), 4)
                                                                    : djb2(key, offsetof(Parsed, transport));
  descriptor->hash = hash;
  const Stream *stream = (const Stream *)(memory + header->streams) + flow->stream;
  uint32_t target = ((const uint16_t *)(memory + stream->table))[hash % stream->size];
  if (target == EMPTY) {
    if (header->markNoTarget) accept_(descriptor, header->noTargetMark);
    return NO_TARGET;
  }
  descriptor->target = target;
  const Target *owner = (const Target *)(memory + stream->targets) + target;
  descriptor->counter = owner->counter;
  accept_(descriptor, owner->mark);
  return OK;
}

static void decide(uint8_t *worker, uint32_t first, uint32_t count) {
  WorkerState *state = (WorkerState *)(worker + WORKER_STATE);
  uint32_t *published = (uint32_t *)(memory + CONTROL_GENERATION);
  __atomic_store_n(&state->epoch, __atomic_load_n(published, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
  uint32_t generation = __atomic_load_n(published, __ATOMIC_SEQ_CST);
  const Header *header = (const Header *)(memory + HEADERS + (generation & 1) * HEADER_SIZE);
  uint64_t *flowCounters = (uint64_t *)(worker + WORKER_FLOW_COUNTERS);
  ReasonCount *reasons = (ReasonCount *)(worker + WORKER_REASONS);
  uint64_t *targetCounters = (uint64_t *)(worker + WORKER_TARGET_COUNTERS);
  Descriptor *descriptors = (Descriptor *)(worker + WORKER_DESCRIPTORS) + first;
  Parsed parsed;
  for (uint32_t n = 0; n < count; n++) {
    Descriptor *descriptor = &descriptors[n];
    descriptor->reason = (uint32_t)decideOne(header, descriptor, &parsed, flowCounters);
    descriptor->fragment = parsed.fragment;
    ReasonCount *counts = &reasons[descriptor->verdict * REASONS + descriptor->reason];
    counts->packets++;
    counts->bytes += descriptor->wireLength;
  }
  for (uint32_t n = 0; n < count; n++) targetCounters[descriptors[n].counter]++;
  if (count > 0) ((uint64_t *)(worker + WORKER_BATCH_SIZES))[count > 1 ? 32 - __builtin_clz(count - 1) : 0]++;
  state->batches++;
  state->packets += count;
  __atomic_store_n(&state->epoch, 0, __ATOMIC_SEQ_CST);
}

static void run(uint32_t areas, uint64_t batches) {
  for (uint64_t batch = 0, area = 0; batch < batches; batch++) {
    decide(memory + WORKERS + area * WORKER_SIZE, 0, BATCH);
    if (++area == areas) area = 0;
  }
}

int main(int argc, char **argv) {
  struct stat file;
  int descriptor = argc == 4 ? open(argv[1], O_RDONLY) : -1;
  if (descriptor < 0 || fstat(descriptor, &file) != 0) return fprintf(stderr, "usage: core IMAGE AREAS BATCHES|check\n"), 2;
  memory = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
  if (memory == MAP_FAILED) return perror("core: mmap"), 1;
  uint32_t areas = (uint32_t)strtoul(argv[2], NULL, 10);
  if (strcmp(argv[3], "check") == 0) {
    run(areas, areas);
    for (uint32_t area = 0; area < areas; area++)
      if (fwrite(memory + WORKERS + area * WORKER_SIZE + WORKER_DESCRIPTORS, DESCRIPTOR_BYTES, BATCH, stdout) != BATCH)
        return perror("core: write"), 1;
    return 0;
  }
  uint64_t batches = strtoull(argv[3], NULL, 10);
  struct timespec from, to;
  run(areas, batches / 4 + areas); /* caches and branch predictors */
  clock_gettime(CLOCK_MONOTONIC, &from);
  run(areas, batches);
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%lld\n", (long long)(to.tv_sec - from.tv_sec) * 1000000000ll + (to.tv_nsec - from.tv_nsec));
  return 0;
}
