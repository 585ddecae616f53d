/**
 * Every metric of the platform, with the labels that it has. Names follow Prometheus (base units, `_total` on counters), and
 * the OpenTelemetry GenAI conventions where these have one. No label has a run, session or sandbox in it: an exemplar leads
 * to the run.
 */
export const counters = {
  vm0_runs_finished_total: { help: 'Runs that have ended', labels: ['project', 'outcome', 'reason'] },
  vm0_run_resumptions_total: { help: 'Times that a run was taken up again after a loss', labels: ['reason'] },
  vm0_sandbox_out_of_memory_total: { help: 'Sandboxes that were at their memory limit', labels: ['action'] },
  vm0_run_cost_usd_total: { help: 'US dollars, as the agents count them', labels: ['project', 'gen_ai_request_model'] },
  vm0_pool_requests_total: { help: 'New sessions that asked for a warm sandbox', labels: ['result'] },
  vm0_events_total: { help: 'Events that were written to the logs of runs', labels: [] },
  vm0_telemetry_exported_total: { help: 'Items that an OTLP collector has taken', labels: ['signal'] },
  vm0_telemetry_dropped_total: { help: 'Items that were not exported over OTLP', labels: ['signal', 'reason'] },
  vm0_egress_bytes_total: {
    help: 'What sandboxes have sent and received, by where to: bodies of model requests (via gateway), or IP packets (direct)',
    labels: ['via', 'destination', 'direction'],
  },
  vm0_egress_requests_total: {
    help: 'Model requests that left, by the host that they went to',
    labels: ['destination'],
  },
  vm0_egress_refused_packets_total: { help: 'Packets that sandboxes sent to where they may not', labels: [] },
  vm0_reclaimed_bytes_total: { help: 'Memory of frozen sandboxes that was given back to the host', labels: [] },
  vm0_webhook_deliveries_total: {
    help: 'Attempts to tell a webhook, by what came of them: the message was taken, will be tried again, or was given up',
    labels: ['outcome'],
  },
  gen_ai_client_inference_usage_input_tokens_total: {
    help: 'Input tokens, those from and into the cache included',
    labels: ['project', 'gen_ai_request_model'],
  },
  gen_ai_client_inference_usage_output_tokens_total: {
    help: 'Output tokens',
    labels: ['project', 'gen_ai_request_model'],
  },
  gen_ai_client_inference_usage_cache_read_input_tokens_total: {
    help: 'Input tokens that came from the cache',
    labels: ['project', 'gen_ai_request_model'],
  },
  gen_ai_client_inference_usage_cache_write_input_tokens_total: {
    help: 'Input tokens that were written to the cache',
    labels: ['project', 'gen_ai_request_model'],
  },
} as const

const seconds = {
  stage: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600],
  work: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68],
  run: [1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400],
  save: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
}

export const histograms = {
  vm0_run_stage_seconds: {
    help: 'From the API call to each stage of the way to the first token, by how the sandbox came',
    labels: ['stage', 'start'],
    buckets: seconds.stage,
  },
  vm0_run_duration_seconds: {
    help: 'From the API call to the end of the run',
    labels: ['outcome'],
    buckets: seconds.run,
  },
  gen_ai_client_inference_duration_seconds: {
    help: 'Model requests as the gateway sees them, error_type is the HTTP status of those that failed',
    labels: ['error_type'],
    buckets: seconds.work,
  },
  gen_ai_execute_tool_duration_seconds: {
    help: 'Tool calls, error_type is empty for those that succeeded',
    labels: ['gen_ai_tool_name', 'error_type'],
    buckets: seconds.work,
  },
  vm0_checkpoint_duration_seconds: {
    help: 'From the freeze of a sandbox to its durable checkpoint',
    labels: ['cause'],
    buckets: seconds.save,
  },
  vm0_checkpoint_size_bytes: {
    help: 'What a checkpoint added to the store',
    labels: ['cause'],
    buckets: [1024, 8192, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864, 268_435_456, 1_073_741_824],
  },
} as const

export const gauges = {
  vm0_build_info: { help: 'Always 1', labels: ['version'] },
  vm0_runs: { help: 'Runs that have not ended, by state', labels: ['state'] },
  vm0_sandboxes: {
    help: 'Sandboxes of this host: of sessions in use, of sessions that are frozen, of those whose memory was given back, waiting warm',
    labels: ['state'],
  },
  vm0_sandboxes_limit: { help: 'The most sandboxes that sessions of this host may have', labels: [] },
  vm0_webhook_deliveries_pending: { help: 'Messages that wait for their first or next attempt', labels: [] },
  vm0_host_memory_bytes: { help: 'Memory of this host', labels: [] },
  vm0_host_memory_available_bytes: { help: 'Memory of this host that programs can have', labels: [] },
  vm0_host_memory_pressure_ratio: {
    help: 'Share of the last 10 seconds in which work waited for memory (PSI); absent where the kernel tells none',
    labels: ['kind'],
  },
} as const
