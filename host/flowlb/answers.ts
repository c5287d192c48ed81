/** What the control socket of `nfqlb flowlb` takes and tells. */
import { readFlowChange, readLogLevel, readStreamChange, type StreamChange } from '../config/change.js';
import type { LogLevel, StreamChangeReply } from '../control/api.js';
import { RequestError, type Routes } from '../control/server.js';
import { traceFlowRoutes } from '../control/trace-flows.js';
import {
  flowReplies,
  fragmentsReply,
  type ListedNames,
  nfqlbFlowReplies,
  nfqlbStreamReplies,
  slotReply,
  streamReplies,
} from '../daemon/listing.js';
import { levelOfSyslog } from '../daemon/log.js';
import { nfqlbTrace } from '../trace/nfqlb-trace.js';
import { traceRoutes } from '../trace/routes.js';
import { Tracer } from '../trace/tracer.js';
import type { FlowLb } from './flowlb.js';
import {
  activate,
  asNfqlbLists,
  deactivate,
  deleteFlow,
  init,
  memoryOf,
  remove,
  type State,
  setFlow,
} from './state.js';

/** Names are what they were called. */
const NAMES: ListedNames = { flow: flow => flow.name, stream: name => name };

export function routesOf(flowLb: FlowLb): Routes {
  const { images, options } = flowLb;
  const tracer = new Tracer({ images, firstQueue: options.settings.queues.first });
  const visible = (name: string) => flowLb.state.memories.some(each => each.name === name && !each.unlinked);
  return {
    'GET /v1/flows': () => flowReplies(images),
    'GET /v1/streams': () => streamReplies(images).filter(({ name }) => visible(name)),
    'GET /v1/nfqlb/flows': () => asNfqlbLists(flowLb.state, nfqlbFlowReplies(images, NAMES)),
    'GET /v1/nfqlb/streams': () => {
      const own = new Map(flowLb.state.memories.map(each => [each.name, each.own]));
      return nfqlbStreamReplies(images, NAMES, name => own.get(name)!).filter(({ name }) => visible(name));
    },
    'GET /v1/nfqlb/slot': ({ query }) => {
      memoryOf(flowLb.state, query.get('stream') ?? '');
      return slotReply(images, NAMES, query);
    },
    'GET /v1/fragments': () => fragmentsReply(images),

    'POST /v1/flows': async ({ body }) => {
      const change = readFlowChange(body);
      await flowLb.change(state =>
        'delete' in change ? deleteFlow(state, change.delete.name) : setFlow(state, change.set),
      );
      return {};
    },

    'POST /v1/streams': async ({ body }): Promise<StreamChangeReply> => {
      const change = readStreamChange(body);
      let left: readonly number[] = [];
      await flowLb.change(state => {
        const done = changeStream(flowLb, state, change);
        left = done.left;
        return done.state;
      });
      const name = nameIn(change);
      const image = images.current!.streams.find(each => each.stream.name === name);
      return { tableSize: image?.tableSize ?? 0, left };
    },

    'GET /v1/loglevel': (): LogLevel => ({ level: flowLb.logLevel }),
    'POST /v1/loglevel': ({ body }): LogLevel => {
      flowLb.logLevel = readLogLevel(body);
      flowLb.options.log.level = levelOfSyslog(flowLb.logLevel);
      return { level: flowLb.logLevel };
    },

    ...traceRoutes(tracer, images.core.Limit.ReadBytes, error =>
      flowLb.options.log.error({ err: error }, 'the place of a reader of traces could not be freed'),
    ),
    ...traceFlowRoutes(
      flowLb.traceFlows,
      nfqlbTrace(tracer, name => name),
    ),
  };
}

function nameIn(change: StreamChange): string {
  if ('init' in change) return change.init.name;
  if ('delete' in change) return change.delete.name;
  return 'activate' in change ? change.activate.name : change.deactivate.name;
}

function changeStream(
  flowLb: FlowLb,
  state: State,
  change: StreamChange,
): { readonly state: State; readonly left: readonly number[] } {
  if ('activate' in change) return activate(state, change.activate);
  if ('deactivate' in change) return { state: deactivate(state, change.deactivate), left: [] };
  if ('delete' in change) return { state: remove(state, change.delete.name), left: [] };
  const { maxTargets, tableSize } = change.init;
  const prime = flowLb.images.core.primeAtMost(tableSize);
  // nfqlb's rule: with fewer slots than targets some could never have one.
  if (maxTargets > prime)
    throw new RequestError(400, `N can't be larger than M: ${maxTargets} targets, ${prime} slots`);
  return { state: init(state, change.init), left: [] };
}
