/** What the files that operators take say: the Containerfile, and the manifest for Kubernetes. No container is run. */
import { readFileSync } from 'node:fs';
import { loadAll } from 'js-yaml';
import t from 'tap';
import { loadConfig } from '../../host/config/load.js';

const text = (name: string) => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8');

/** Instructions of the Containerfile, those that go over several lines as one. */
const instructions = text('Containerfile')
  .replace(/^\s*#.*\n/gm, '')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter(line => line.trim() !== '');
const last = instructions.slice(instructions.findLastIndex(line => line.startsWith('FROM')));
const listOf = (name: string, from = last): string[] =>
  JSON.parse(/\[.*\]/.exec(from.find(line => line.startsWith(name))!)![0]) as string[];

t.test('the last stage installs what the daemon starts, and no compiler', t => {
  const installed = /install -y --no-install-recommends ([a-z0-9+ -]+?) *&&/.exec(
    last.find(line => line.startsWith('RUN'))!,
  )![1];
  t.equal(installed, 'bird2 iproute2 iptables libstdc++6 nftables');
  t.equal(last.filter(line => line.startsWith('RUN')).length, 1);
  t.end();
});

t.test('signals reach node itself: no shell stands before it', t => {
  t.equal(listOf('ENTRYPOINT')[0], 'node');
  t.equal(listOf('ENTRYPOINT').at(-1), '/opt/magmark/dist/host/bin/magmark.js');
  t.strictSame(listOf('CMD'), ['run', '--config', '/etc/magmark/config.yaml', '--watch']);
  t.ok(last.includes('STOPSIGNAL SIGTERM'));
  t.end();
});

interface Manifest {
  readonly kind: string;
  readonly data: Readonly<Record<string, string>>;
  readonly spec: { readonly template: Template };
}

interface Template {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly volumes: readonly { readonly name: string }[];
    readonly containers: readonly [PodContainer];
  };
}

type Probe = 'startupProbe' | 'livenessProbe' | 'readinessProbe';

interface PodContainer extends Readonly<Record<Probe, { exec: { command: string[] } }>> {
  readonly args: readonly string[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly volumeMounts: readonly { name: string; mountPath: string; subPath?: string }[];
}

// Throws where it is no YAML, or a key stands twice.
const manifests = loadAll(text('deploy/kubernetes.yaml')) as Manifest[];
const [configMap, deployment] = manifests;
const pod = deployment!.spec.template.spec;
const [container] = pod.containers;

t.test('the manifest is YAML of a ConfigMap and a Deployment, and its configuration is valid', t => {
  t.strictSame(
    manifests.map(({ kind }) => kind),
    ['ConfigMap', 'Deployment'],
  );
  const config = loadConfig(configMap!.data['config.yaml']!, 'config.yaml');
  t.ok(
    pod.terminationGracePeriodSeconds * 1000 > config.shutdownDelayMs * 2,
    'there is time for shutdownDelay and the removal',
  );
  const names = JSON.parse(
    deployment!.spec.template.metadata.annotations['k8s.v1.cni.cncf.io/networks']!,
  ).map((network: { interface: string }) => network.interface);
  t.ok(names.includes(config.interfaces.external), 'the external interface is that of a network');
  t.end();
});

t.test('never the host’s network; one capability, a read-only root', t => {
  for (const key of ['hostNetwork', 'hostPID', 'hostIPC']) t.notOk(key in pod, key);
  t.match(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
  });
  t.notOk(container.securityContext.privileged);
  t.end();
});

t.test('what is mounted is there, and what the daemon writes is a volume', t => {
  const volumes = pod.volumes.map(volume => volume.name);
  const mounts = container.volumeMounts;
  for (const { name, subPath } of mounts) {
    t.ok(volumes.includes(name), name);
    t.equal(subPath, undefined, 'a subPath is never updated');
  }
  const paths = mounts.map(({ mountPath }) => mountPath);
  t.strictSame(paths, ['/etc/magmark', '/run', '/var/lib/magmark']);
  t.strictSame(container.args, listOf('CMD'));
  t.end();
});

t.test('probes ask what the health check of the image asks, and whether it is ready', t => {
  const asked = listOf('HEALTHCHECK');
  t.strictSame(asked, ['magmark', 'health']);
  for (const probe of ['startupProbe', 'livenessProbe'] as const)
    t.strictSame(container[probe].exec.command, asked, probe);
  t.strictSame(container.readinessProbe.exec.command, [...asked, '--ready']);
  t.end();
});
