/** From a link's frame to the IP packet in it: Ethernet, Linux cooked (both versions), raw IP; VLAN tags are skipped. */
/** LINKTYPE numbers (www.tcpdump.org/linktypes.html); 12 and 14 are what some systems wrote for raw IP. */
const ETHERNET = 1;
const RAW = [12, 14, 101, 228, 229];
const LINUX_SLL = 113;
const LINUX_SLL2 = 276;

/** Where the type of the payload stands and how long the header is, by link. */
const HEADERS: Readonly<Record<number, { readonly typeAt: number; readonly bytes: number }>> = {
  [ETHERNET]: { typeAt: 12, bytes: 14 },
  [LINUX_SLL]: { typeAt: 14, bytes: 16 },
  [LINUX_SLL2]: { typeAt: 0, bytes: 20 },
};

const VERSIONS: Readonly<Record<number, number>> = { 2048: 4, 34525: 6 };
/** IEEE 802.1Q, 802.1ad, and the number that was used before it. */
const VLAN_TAGS = [0x8100, 0x88a8, 0x9100];
const VLAN_TAG_BYTES = 4;

/** For messages. */
export const KNOWN_LINKS = 'Ethernet (1), raw IP (101) and Linux cooked (113, 276)';

export function isKnownLink(linkType: number): boolean {
  return RAW.includes(linkType) || HEADERS[linkType] !== undefined;
}

/** Offset of the IP packet in a frame of a known link, or null if the frame holds none. */
export function ipOffset(linkType: number, frame: Uint8Array): number | null {
  if (RAW.includes(linkType)) return 0;
  const header = HEADERS[linkType];
  if (header === undefined) throw new RangeError(`link type ${linkType} is not known`);
  if (frame.length < header.bytes) return null;
  const word = (at: number): number => (frame[at]! << 8) | frame[at + 1]!;
  let type = word(header.typeAt);
  let offset = header.bytes;
  while (VLAN_TAGS.includes(type)) {
    if (frame.length < offset + VLAN_TAG_BYTES) return null;
    type = word(offset + 2);
    offset += VLAN_TAG_BYTES;
  }
  const version = VERSIONS[type];
  if (version === undefined) return null;
  // A frame that announces one version and holds another is of neither.
  return offset < frame.length && frame[offset]! >> 4 !== version ? null : offset;
}
