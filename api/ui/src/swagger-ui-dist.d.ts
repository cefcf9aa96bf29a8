/** The little of it that is used; the package brings no types. */
declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  export default function SwaggerUI(options: {
    dom_id: string;
    url: string;
    validatorUrl: null;
    tryItOutEnabled: boolean;
  }): void;
}
