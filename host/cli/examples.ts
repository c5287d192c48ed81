/** What `--help` of each command shows: lines for a shell, as they are typed. A test runs them. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  run: [
    'magmark run --config config.yaml',
    'magmark run --config config.yaml --takeover   # after an upgrade, beside the running one; with the same --socket and --journal',
  ],
  validate: ['magmark validate config.yaml', 'magmark validate --json config.yaml'],
  replay: [
    'magmark replay --config config.yaml capture.pcapng',
    'magmark replay --config config.yaml --json capture.pcapng | head -n 3',
  ],
  schema: ['magmark schema > magmark.schema.json'],
  status: ['magmark status', 'magmark status --watch'],
  health: ['magmark health', 'magmark health --ready --json'],
  targets: ['magmark targets', 'magmark targets --json'],
  flows: ['magmark flows', 'magmark flows --json'],
  streams: ['magmark streams', 'magmark streams --json'],
  gateways: ['magmark gateways', 'magmark gateways --json'],
  reload: ['magmark reload'],
  apply: ['magmark apply config.yaml'],
  diff: ['magmark diff', 'magmark diff config.yaml   # before it is applied'],
  explain: [
    "magmark explain 'tcp 192.0.2.1:40000 > 20.0.0.1:4000'",
    "magmark explain 'udp [2001:db8::1]:53 > [2000::1]:53'",
    "magmark explain --config config.yaml 'icmp 192.0.2.1 > 20.0.0.1'",
  ],
  trace: [
    'magmark trace --count 10',
    "magmark trace --protocols tcp --dports 4000 --match 'tcp[13:1] & 0x02 = 0x02'",
  ],
  capture: [
    'magmark capture -w vip.pcapng --dsts 20.0.0.1/32 --count 1000',
    'magmark capture -w - --dsts 20.0.0.1/32 | tshark -r - -T fields -e frame.comment',
  ],
};

export function examplesText(command: string): string {
  const lines = EXAMPLES[command];
  if (lines === undefined) return '';
  return `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.map(line => `  ${line}`).join('\n')}`;
}
