/**
 * Every name of a span's attributes, in one place: the GenAI conventions are in development and rename them now and then.
 * Where a name is new, most backends still read the old one; `earlierNames` has it, and exports carry both.
 */
export const names = {
  operation: 'gen_ai.operation.name',
  agent: 'gen_ai.agent.name',
  conversation: 'gen_ai.conversation.id',
  provider: 'gen_ai.provider.name',
  model: 'gen_ai.request.model',
  responseId: 'gen_ai.response.id',
  timeToFirstChunk: 'gen_ai.response.time_to_first_chunk',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  cacheReadTokens: 'gen_ai.usage.cache_read.input_tokens',
  cacheWriteTokens: 'gen_ai.usage.cache_write.input_tokens',
  tool: 'gen_ai.tool.name',
  toolCall: 'gen_ai.tool.call.id',
  errorType: 'error.type',
  httpStatus: 'http.response.status_code',
  path: 'url.path',
  exitCode: 'process.exit.code',
  run: 'vm0.run.id',
  outcome: 'vm0.outcome',
  cost: 'vm0.cost.usd',
  startKind: 'vm0.start.kind',
  sandbox: 'vm0.sandbox.id',
  template: 'vm0.template',
  agentVersion: 'vm0.agent.version',
  turn: 'vm0.turn.index',
  toolKind: 'vm0.tool.kind',
  title: 'vm0.tool.title',
  outputChars: 'vm0.tool.output.chars',
  decision: 'vm0.permission.decision',
  trigger: 'vm0.compaction.trigger',
  tokensBefore: 'vm0.compaction.tokens.before',
  tokensAfter: 'vm0.compaction.tokens.after',
  hook: 'vm0.hook.name',
  checkpoint: 'vm0.checkpoint.id',
  cause: 'vm0.checkpoint.cause',
  bytes: 'vm0.checkpoint.bytes',
  files: 'vm0.checkpoint.files',
  /** Nothing told of its end: an export gives it the run's. */
  endInferred: 'vm0.end.inferred',
} as const

export const earlierNames: Readonly<Record<string, string>> = {
  [names.provider]: 'gen_ai.system',
  [names.cacheWriteTokens]: 'gen_ai.usage.cache_creation.input_tokens',
}
