import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'

const hidden = ['/healthz', '/readyz', '/v1/openapi.json']

const problem = {
  description: 'A problem document (RFC 9457)',
  content: {
    'application/problem+json': {
      schema: {
        type: 'object',
        properties: {
          type: { type: 'string' },
          title: { type: 'string' },
          status: { type: 'integer' },
          detail: { type: 'string' },
          code: { type: 'string' },
          hint: { type: 'string' },
          retryable: { type: 'boolean' },
          requestId: { type: 'string' },
          details: { type: 'object', additionalProperties: true },
        },
        required: ['type', 'title', 'status', 'detail', 'code', 'hint', 'retryable'],
      },
    },
  },
}

/** OpenAPI 3.1, made from the schemas that check the requests; every call may answer with a problem document. */
export async function describeApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'VM0', version: '1', description: 'Serverless infrastructure for coding agents' },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: (input) => {
      if (hidden.includes(input.url)) return { schema: { hide: true }, url: input.url }
      const { schema, url } = jsonSchemaTransform(input as never) as Transformed
      const response = schema.response ?? { 200: { description: 'Done' } }
      return { schema: { ...schema, response: { ...response, default: problem } } as never, url }
    },
  })
}

interface Transformed {
  schema: { response?: Record<string, unknown> }
  url: string
}
