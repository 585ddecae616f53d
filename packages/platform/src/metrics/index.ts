export { readHostMetrics } from './host-metrics.js'
export { serveMetrics } from './metrics-server.js'
export { createMetrics, type Metrics } from './registry.js'
export { RunMetrics } from './run-metrics.js'
