import t from 'tap';
import { maskWord, writeAddressWords } from '../../host/core/address-words.js';
import { ANY, firstWord, type Networks, networksOf, parentsOf } from '../../host/core/networks.js';
import { addressNumber } from '../../host/types/address.js';
import type { Prefix } from '../../host/types/config.js';
import { Random } from '../../scripts/bench/random.js';
import { prefixOf } from '../fixture/config.js';

const WORD = 1n << 32n;

function numberOf(words: Iterable<number>): bigint {
  return [...words].reduce((sum, word) => sum * WORD + BigInt(word), 0n);
}

/** First address and the one behind the last, as numbers. */
function extentOf(networks: Networks, network: number): [bigint, bigint] {
  const at = (place: number) =>
    place === networks.placeCount ? 1n << 128n : numberOf(networks.words.subarray(4 * place, 4 * place + 4));
  return [at(networks.firsts[network]!), at(networks.behinds[network]!)];
}

function wanted({ family, address, length }: Prefix): [bigint, bigint] {
  const hosts = 1n << BigInt((family === 4 ? 32 : 128) - length);
  const number = addressNumber(address) + (family === 4 ? 0xffff_0000_0000n : 0n);
  const first = number - (number % hosts);
  return [first, first + hosts];
}

t.test('an address has the words of its number, however it is written', async t => {
  const random = new Random(7);
  const group = () => random.pick([0, 0, 1, 0xffff, random.below(0x10000)]).toString(16);
  const spelled = Array.from({ length: 2000 }, () => {
    const groups = Array.from({ length: 8 }, group);
    const from = random.below(9);
    const to = from + random.below(9 - from);
    return to === from
      ? groups.join(':')
      : `${groups.slice(0, from).join(':')}::${groups.slice(to).join(':')}`;
  });
  const words = new Uint32Array(6).fill(9);
  for (const text of ['::', '::1', '1::', 'fe80::1', '::ffff:1.2.3.4', '64:ff9b::255.0.1.2', ...spelled]) {
    writeAddressWords(6, text, words, 1);
    t.equal(numberOf(words.subarray(1, 5)), addressNumber(text), text);
  }
  for (const text of ['0.0.0.0', '255.255.255.255', '20.0.10.209']) {
    writeAddressWords(4, text, words, 1);
    t.equal(numberOf(words.subarray(1, 5)), 0xffff_0000_0000n + addressNumber(text), text);
  }
  t.equal(words[0], 9);
  t.equal(words[5], 9);
});

t.test('a mask of words covers as many bits as the prefix is long', async t => {
  for (let length = 0; length <= 128; length++) {
    const mask = numberOf([0, 1, 2, 3].map(word => maskWord(length, word)));
    t.equal(mask, (1n << 128n) - (1n << BigInt(128 - length)), `${length}`);
  }
});

t.test('networks of random prefixes begin and end where the prefixes do, ascending', async t => {
  const random = new Random(3);
  for (let round = 0; round < 300; round++) {
    const bases = [
      '20.0.0.0',
      '20.0.0.255',
      '255.255.255.255',
      '::',
      '::ffff:0:0',
      '::1:0:0:0',
      'ffff::',
      '2000::',
    ];
    const lists = random.list(1, 6, () =>
      random.list(0, 12, (): Prefix => {
        const address = random.pick(bases);
        return address.includes(':')
          ? { family: 6, address, length: random.pick([0, 3, 80, 95, 96, 97, 127, 128, random.below(129)]) }
          : { family: 4, address, length: random.pick([0, 8, 24, 31, 32, random.below(33)]) };
      }),
    );
    const { networks, lists: listed } = networksOf(lists);
    const extents = Array.from({ length: networks.count }, (_, network) => extentOf(networks, network));
    const isAscending = extents.every(([first, behind], network) => {
      const [before, end] = extents[network - 1] ?? [-1n, 0n];
      return before < first || (before === first && end > behind);
    });
    if (!isAscending) return t.fail(`round ${round}: ${extents}`);
    lists.forEach((list, index) => {
      const every = list.map(wanted);
      const least = every.filter(
        ([first, behind], at) =>
          !every.some(
            ([otherFirst, otherBehind], other) =>
              otherFirst <= first &&
              behind <= otherBehind &&
              (otherBehind - otherFirst > behind - first || other < at),
          ),
      );
      const sorted = least.sort(([one], [other]) => (one < other ? -1 : 1));
      const got = Array.from(listed[index]!, network => extents[network]!);
      if (`${got}` !== `${sorted}`) t.fail(`round ${round}, list ${index}: ${got} for ${sorted}`);
    });
  }
});

t.test('one network has one number, however it is written, and lengths are told apart', async t => {
  const prefixes = ['10.0.0.0/8', '10.9.9.9/8', '::ffff:a00:0/104', '10.0.0.0/9', '2000::/3', '2000::/4'];
  const { lists } = networksOf(prefixes.map(text => [prefixOf(text)]));
  t.same(
    lists.map(list => [...list]),
    [[2], [2], [2], [3], [4], [5]],
    'behind that of all and that of IPv4',
  );
});

t.test('the parent of a network is the longest of the others that holds it', async t => {
  const texts = ['::/0', '10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '10.2.0.0/16', '11.0.0.0/8', '2000::/3'];
  const { networks, lists } = networksOf(texts.map(text => [prefixOf(text)]));
  const some = Uint32Array.from(lists, ([network]) => network!);
  t.equal(some[0], ANY);
  t.same([...parentsOf(networks, some)], [-1, 0, 1, 2, 1, 0, 0]);
  t.same(
    [
      ...parentsOf(
        networks,
        some.filter((_, index) => index !== 2 && index !== 0),
      ),
    ],
    [-1, 0, 0, -1, -1],
  );
  t.equal(firstWord(networks, some[2]!, 3), 0x0a010000);
});
