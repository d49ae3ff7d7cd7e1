// Holds custom resources, given as a JSON list on standard input, to the models of their
// definitions. Prints a JSON list of complaints.
import * as route from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1';
import * as monitoring from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';

const kinds = {
  'gateway.networking.k8s.io/v1': route,
  'monitoring.coreos.com/v1': monitoring,
};

let text = '';
for await (const piece of process.stdin) text += piece;

const complaints = [];
for (const given of JSON.parse(text)) {
  const Model = kinds[given.apiVersion]?.[given.kind];
  if (Model === undefined) {
    complaints.push(`no model for ${given.apiVersion} ${given.kind}`);
    continue;
  }
  try {
    new Model(given).validate();
  } catch (error) {
    complaints.push(`${given.kind} ${given.metadata?.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(complaints));
