// A foreign authorization server for the engines tests: oidc-provider as it comes,
// in memory, on a free port. Prints one line of JSON, then serves until it is killed.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const resource = 'urn:gateway:api';
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const client = (client_id, method) => ({
  client_id,
  client_secret: 'sesame+colon:and space, long enough',
  grant_types: ['client_credentials', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: method,
});

const provider = new Provider(issuer, {
  clients: [client('basic:client', 'client_secret_basic'), client('post-client', 'client_secret_post')],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'first', use: 'sig', alg: 'RS256' }] },
  scopes: ['openid', 'offline_access', 'read', 'write'],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, nickname: '마시마렁' }) }),
  ttl: { AccessToken: 300, ClientCredentials: 300, Grant: 600, RefreshToken: 600 },
  claims: { openid: ['sub', 'nickname'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({ scope: 'read write', accessTokenFormat: 'jwt', audience: resource }),
    },
  },
});

// Users' tokens, which otherwise take a browser to get.
async function userTokens() {
  const owner = await provider.Client.find('basic:client');
  const grant = new provider.Grant({ clientId: owner.clientId, accountId: 'ada' });
  grant.addOIDCScope('openid read');
  const members = { accountId: 'ada', client: owner, grantId: await grant.save(), gty: 'authorization_code' };
  return {
    access: await new provider.AccessToken({ ...members, scope: 'openid read' }).save(),
    unscoped: await new provider.AccessToken({ ...members, scope: 'read' }).save(),
    refresh: await new provider.RefreshToken({ ...members, scope: 'openid read' }).save(),
  };
}

server.on('request', provider.callback());
console.log(JSON.stringify({ issuer, resource, user: await userTokens() }));
