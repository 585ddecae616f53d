import type { Exchange } from '@vm0/gateway'
import type { Egress } from '@vm0/sandbox'
import { boundedLabel } from './bounded-label.js'
import type { Metrics } from './registry.js'

/** Model endpoints: a handful, by configuration. */
const maxEndpoints = 30
/** The host's own proxies and registries, and names that sandboxes have asked for: of these the sandbox package keeps 256 apart. */
const maxDestinations = 300

/** Where what leaves sandboxes goes. */
export class EgressMetrics {
  private readonly endpoint = boundedLabel(maxEndpoints)
  private readonly name = boundedLabel(maxDestinations)
  /** What was read last, by series: the kernel counts from its own zero. */
  private readonly read = new Map<string, number>()

  constructor(private readonly metrics: Metrics) {
    metrics.add('vm0_egress_refused_packets_total', {}, 0)
  }

  exchanged({ destination: host, sentBytes, receivedBytes }: Exchange): void {
    const destination = this.endpoint(host)
    this.metrics.add('vm0_egress_requests_total', { destination })
    this.bytes('gateway', destination, 'sent', sentBytes)
    this.bytes('gateway', destination, 'received', receivedBytes)
  }

  /** Brings the counts up to what the kernel has, which may begin anew when its rules are made anew. */
  update({ destinations, refusedPackets }: Egress): void {
    for (const { destination: host, sentBytes, receivedBytes } of destinations) {
      const destination = this.name(host)
      this.bytes('direct', destination, 'sent', this.since(`sent ${host}`, sentBytes))
      this.bytes('direct', destination, 'received', this.since(`received ${host}`, receivedBytes))
    }
    this.metrics.add('vm0_egress_refused_packets_total', {}, this.since('refused', refusedPackets))
  }

  private bytes(via: string, destination: string, direction: string, bytes: number): void {
    this.metrics.add('vm0_egress_bytes_total', { via, destination, direction }, bytes)
  }

  private since(series: string, now: number): number {
    const before = this.read.get(series) ?? 0
    this.read.set(series, now)
    return now >= before ? now - before : now
  }
}
