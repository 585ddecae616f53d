export { otlpOf } from './trace/otlp.js'
export { perfettoOf } from './trace/perfetto.js'
export { TraceBuilder, traceIdOf, traceOf, type TracedRun } from './trace/trace-builder.js'
